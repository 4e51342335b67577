//! STS: owners of access keys, and sessions of roles.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::call::{ApiError, Call, Caller, Service};
use crate::iam::{Role, split_role_arn};
use crate::organizations::AccountState;
use crate::policy_language::{Context, PrincipalKind, TrustRequest, trust_allows};
use crate::preflight::{bad_credentials, denied_by_policy, expired};
use crate::regions::GLOBAL_REGION;
use crate::rules::sts_is_off;
use crate::time::iso8601;
use crate::wire::query::Params;
use crate::wire::xml::Element;
use crate::wire::{QueryAnswer, Scope};
use crate::world::World;

/// A session of a role.
#[derive(Clone, Debug)]
pub struct Session {
    /// Account of the role.
    pub account: String,
    /// ARN of the role.
    pub role_arn: String,
    /// ARN of the session: `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`.
    pub arn: String,
    /// `AROA…:SESSION`.
    pub user_id: String,
    /// Number in the order of all sessions, from 1.
    pub number: u64,
    /// Session token that a request must send with the access key.
    pub token: String,
    /// Secret access key. Nothing verifies signatures.
    pub secret: String,
    /// End, in epoch milliseconds.
    pub expires_ms: u64,
}

impl Session {
    /// Whether it is a session of this very role and not of one that had its name before.
    pub(crate) fn is_of(&self, role: &Role) -> bool {
        self.user_id.split(':').next() == Some(role.id.as_str())
    }
}

/// Sessions by access key id.
#[derive(Debug, Default)]
pub struct StsState {
    sessions: BTreeMap<String, Session>,
    opened: u64,
}

impl StsState {
    /// The session of an access key id, also after its end.
    pub fn session(&self, access_key_id: &str) -> Option<&Session> {
        self.sessions.get(access_key_id)
    }

    /// All sessions so far.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// The session behind a caller; `None` for an account's own keys.
    pub(crate) fn session_of(&self, caller: &Caller) -> Option<&Session> {
        self.sessions.get(caller.session_key.as_deref()?)
    }

    /// Number of sessions opened so far, which is the number of the newest one.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }
}

/// The access key id of an account's root-like long-term key: the account stands in it.
pub(crate) fn long_term_key(account: &str) -> String {
    format!("AKIA{account}SIM0")
}

/// Finds the caller behind the signature's access key and token.
pub(crate) fn authenticate(world: &World, scope: &Scope) -> Result<Caller, ApiError> {
    let unknown = || bad_credentials(scope.service);
    if let Some(session) = world.sts.session(&scope.access_key_id) {
        if scope.session_token.as_deref() != Some(session.token.as_str()) {
            return Err(unknown());
        }
        if world.now_ms() >= session.expires_ms {
            return Err(expired(scope.service));
        }
        let (account, principal_arn) = (session.account.clone(), session.arn.clone());
        return Ok(Caller { account, principal_arn, session_key: Some(scope.access_key_id.clone()) });
    }
    let key = scope.access_key_id.as_str();
    let account = key.strip_prefix("AKIA").and_then(|rest| rest.strip_suffix("SIM0")).ok_or_else(unknown)?;
    if !world.accounts.contains_key(account) || scope.session_token.is_some() {
        return Err(unknown());
    }
    Ok(Caller::root(account))
}

pub(crate) fn handle(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    match call.operation.as_str() {
        "GetCallerIdentity" => {
            params.only(&call.operation, &[])?;
            Ok(get_caller_identity(world, call))
        }
        "AssumeRole" => {
            let known = ["RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"];
            params.only(&call.operation, &known)?;
            assume_role(world, call, params)
        }
        unknown => Err(ApiError::unknown_operation(unknown)),
    }
}

fn get_caller_identity(world: &World, call: &Call) -> (Vec<Element>, Value) {
    let caller = &call.caller;
    let session = world.sts.session_of(caller);
    let user_id = session.map_or(caller.account.as_str(), |session| session.user_id.as_str());
    let members = vec![
        Element::text("UserId", user_id),
        Element::text("Account", caller.account.as_str()),
        Element::text("Arn", caller.principal_arn.as_str()),
    ];
    (members, Value::Null)
}

fn assume_role(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let invalid = |message: String| ApiError::new(400, "ValidationError", message);
    let role_arn = params.get("RoleArn").unwrap_or_default();
    let Some((account, name)) = split_role_arn(role_arn) else {
        return Err(invalid(format!("{role_arn} is invalid")));
    };
    let session_name = check_session_name(params)?;
    check_external_id(params)?;
    let denied = || not_authorized(call, role_arn);
    check_target_account(world, call, account).map_err(|refusal| refusal.unwrap_or_else(denied))?;
    let role = world.iam.role(account, name).filter(|role| role.arn == role_arn).ok_or_else(denied)?;
    let request = TrustRequest {
        action: "sts:AssumeRole",
        principal: PrincipalKind::Aws { arn: &call.caller.principal_arn, account: &call.caller.account },
        context: context_of(world, call, session_name, params.get("ExternalId")),
    };
    if !world.role_propagated(role) || !trust_allows(&role.trust, &request) {
        return Err(denied());
    }
    let seconds = check_duration(params, call, role.max_session_seconds)?;
    let (access_key_id, session) = world.open_session(account, name, session_name, seconds).ok_or_else(denied)?;
    Ok(assume_role_answer(&access_key_id, &session))
}

/// Model: roleSessionNameType, 2 to 64 of `[\w+=,.@-]*`.
fn check_session_name(params: &Params) -> Result<&str, ApiError> {
    let name = params.get("RoleSessionName").unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if (2..=64).contains(&name.len()) && name.chars().all(good) {
        return Ok(name);
    }
    let message = format!(
        "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: [\\w+=,.@-]* and have length between 2 and 64"
    );
    Err(ApiError::new(400, "ValidationError", message))
}

/// Model: externalIdType, 2 to 1,224 of `[\w+=,.@:\/-]*`.
fn check_external_id(params: &Params) -> Result<(), ApiError> {
    let Some(id) = params.get("ExternalId") else { return Ok(()) };
    let good = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if (2..=1224).contains(&id.len()) && id.chars().all(good) {
        return Ok(());
    }
    let message = "1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must \
                   satisfy regular expression pattern: [\\w+=,.@:\\/-]* and have length between 2 and 1224";
    Err(ApiError::new(400, "ValidationError", message))
}

/// Model: roleDurationSecondsType, 900 to 43,200. IAM user guide, "Roles terms and concepts": a role that assumes a
/// role gets an hour at most, and asking for more fails.
fn check_duration(params: &Params, call: &Call, most: u32) -> Result<u32, ApiError> {
    let refused = |message: &str| Err(ApiError::new(400, "ValidationError", message));
    let seconds = match params.get("DurationSeconds").map(str::parse::<u32>) {
        None => return Ok(most.min(3600)),
        Some(Ok(seconds @ 900..=43_200)) => seconds,
        Some(_) => return refused("DurationSeconds must be between 900 and 43200 seconds."),
    };
    let chained = call.caller.principal_arn.contains(":assumed-role/");
    if chained && seconds > 3600 {
        let message =
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
        return refused(message);
    }
    if seconds > most {
        return refused("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
    }
    Ok(seconds)
}

/// Refuses an account in which no role can be assumed: `Err(None)` stands for plain `AccessDenied`, which is what a
/// caller sees of an account that does not exist, is closed or has no role yet.
fn check_target_account(world: &mut World, call: &Call, account: &str) -> Result<(), Option<ApiError>> {
    let Some(assumable_at_ms) = world.accounts.get(account).map(|account| account.assumable_at_ms) else {
        return Err(None);
    };
    match world.organization.state_of(account) {
        Some(AccountState::Suspended | AccountState::Closed | AccountState::PendingActivation) => return Err(None),
        Some(AccountState::Active | AccountState::PendingClosure) | None => {}
    }
    let deactivated = call.region != GLOBAL_REGION && !world.region_enabled(account, &call.region);
    if deactivated || sts_is_off(world, account, &call.region) {
        // IAM user guide, "Manage AWS STS in an AWS Region"; model: RegionDisabledException, 403.
        let message = format!(
            "STS is not activated in this region for account:{account}. Your account administrator can activate STS \
             in this region using the IAM Console."
        );
        return Err(Some(ApiError::new(403, "RegionDisabledException", message)));
    }
    if world.now_ms() < assumable_at_ms { Err(None) } else { Ok(()) }
}

fn context_of(world: &World, call: &Call, session_name: &str, external_id: Option<&str>) -> Context {
    let mut context = principal_context(world, call);
    context.insert("sts:RoleSessionName".to_owned(), session_name.to_owned());
    if let Some(id) = external_id {
        context.insert("sts:ExternalId".to_owned(), id.to_owned());
    }
    context
}

/// Condition keys about the caller (IAM user guide, "AWS global condition context keys").
pub(crate) fn principal_context(world: &World, call: &Call) -> Context {
    let caller = &call.caller;
    let session = world.sts.session_of(caller);
    let principal_arn = session.map_or(caller.principal_arn.as_str(), |session| session.role_arn.as_str());
    let kind = if session.is_some() { "AssumedRole" } else { "Account" };
    let mut context = Context::new();
    let mut put = |key: &str, value: &str| context.insert(key.to_owned(), value.to_owned());
    put("aws:PrincipalArn", principal_arn);
    put("aws:PrincipalAccount", &caller.account);
    put("aws:PrincipalType", kind);
    put("aws:RequestedRegion", &call.region);
    if world.organization.is_member(&caller.account) {
        put("aws:PrincipalOrgID", world.organization.id());
    }
    if let Some(path) = world.organization.path_of(&caller.account) {
        put("aws:PrincipalOrgPaths", path);
    }
    context
}

/// The message of AWS (IAM user guide, "Troubleshoot access denied error messages").
fn not_authorized(call: &Call, role_arn: &str) -> ApiError {
    let user = &call.caller.principal_arn;
    let message = format!("User: {user} is not authorized to perform: sts:AssumeRole on resource: {role_arn}");
    denied_by_policy(Service::Sts, &message)
}

fn assume_role_answer(access_key_id: &str, session: &Session) -> (Vec<Element>, Value) {
    let credentials = Element::of(
        "Credentials",
        vec![
            Element::text("AccessKeyId", access_key_id),
            Element::text("SecretAccessKey", session.secret.as_str()),
            Element::text("SessionToken", session.token.as_str()),
            Element::text("Expiration", iso8601(session.expires_ms)),
        ],
    );
    let user = Element::of(
        "AssumedRoleUser",
        vec![Element::text("AssumedRoleId", session.user_id.as_str()), Element::text("Arn", session.arn.as_str())],
    );
    (vec![credentials, user], json!({ "roleArn": session.role_arn, "assumedRoleArn": session.arn }))
}

impl World {
    /// Opens a session of a role without asking its trust policy, as Lambda does for a function; `None` if the
    /// role does not exist. Returns the access key id as well.
    pub fn open_session(
        &mut self,
        account: &str,
        role_name: &str,
        session_name: &str,
        seconds: u32,
    ) -> Option<(String, Session)> {
        let role = self.iam.role(account, role_name)?;
        let (role_arn, user_id) = (role.arn.clone(), format!("{}:{session_name}", role.id));
        self.sts.opened += 1;
        let access_key_id = format!("ASIA{}", &self.ids.hex(17)[1..].to_ascii_uppercase());
        let session = Session {
            account: account.to_owned(),
            role_arn,
            arn: format!("arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}"),
            user_id,
            number: self.sts.opened,
            token: format!("session-token-{}", self.ids.hex(32)),
            secret: self.ids.hex(32),
            expires_ms: self.now_ms() + u64::from(seconds) * 1000,
        };
        self.sts.sessions.insert(access_key_id.clone(), session.clone());
        Some((access_key_id, session))
    }
}
