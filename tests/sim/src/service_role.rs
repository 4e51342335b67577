//! Roles that AWS services assume: whether they exist and trust the service for a source.

use crate::iam::{Role, split_role_arn};
use crate::policy_language::{Context, PrincipalKind, TrustRequest, trust_allows};
use crate::world::World;

/// On whose behalf a service assumes a role (IAM user guide, "The confused deputy problem").
pub(crate) struct Source<'a> {
    /// `aws:SourceAccount`.
    pub(crate) account: &'a str,
    /// `aws:SourceArn`.
    pub(crate) arn: &'a str,
}

impl Source<'_> {
    /// The condition keys of the request; the organization's only while the account is a member.
    fn context(&self, world: &World) -> Context {
        let mut context = Context::from([
            ("aws:SourceAccount".to_owned(), self.account.to_owned()),
            ("aws:SourceArn".to_owned(), self.arn.to_owned()),
        ]);
        if world.organization.is_member(self.account) {
            context.insert("aws:SourceOrgID".to_owned(), world.organization.id().to_owned());
            if let Some(path) = world.organization.path_of(self.account) {
                context.insert("aws:SourceOrgPaths".to_owned(), path.to_owned());
            }
        }
        context
    }
}

/// The role, if any of the service's principals can assume it for that source now.
pub(crate) fn assumable<'w>(
    world: &'w World,
    role_arn: &str,
    services: &[&str],
    source: &Source<'_>,
) -> Option<&'w Role> {
    let role = world.iam.role_by_arn(role_arn).filter(|role| world.role_propagated(role))?;
    let context = source.context(world);
    let trusts = |service: &&str| {
        let principal = PrincipalKind::Service(service);
        trust_allows(&role.trust, &TrustRequest { action: "sts:AssumeRole", principal, context: context.clone() })
    };
    services.iter().any(trusts).then_some(role)
}

/// Whether the role's policies allow all of the actions on the resource.
pub(crate) fn allows(world: &World, role: &Role, actions: &[&str], resource_arn: &str) -> bool {
    actions.iter().all(|action| world.role_allows(role, action, resource_arn, &Context::new()))
}

/// Whether the ARN is one of a role of that account; roles cannot be passed across accounts.
pub(crate) fn is_role_of(role_arn: &str, account: &str) -> bool {
    split_role_arn(role_arn).is_some_and(|(owner, _)| owner == account)
}

impl World {
    /// Whether a service, on behalf of something of the role's own account, can assume the role and then do all of this
    /// with it. For services that are not simulated, such as Lambda and what it does for a function.
    pub fn service_may(&self, service: &str, role: (&str, &str), source_arn: &str, actions: &[&str], on: &str) -> bool {
        let (account, name) = role;
        let Some(role) = self.iam.role(account, name) else { return false };
        let source = Source { account, arn: source_arn };
        assumable(self, &role.arn, &[service], &source).is_some_and(|role| allows(self, role, actions, on))
    }
}
