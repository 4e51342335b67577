//! Destinations of the central account, read and written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use enroller_core::arn::Arn;
use enroller_core::error::AwsError;
use enroller_core::ids::{AccountId, Region};
use enroller_core::names::DestinationName;
use enroller_core::policy::DestinationPolicy;

use super::journal::Journal;
use crate::granter::{DestinationWriter, WriterPermit};
use crate::ports::{AwsResult, Destination, DestinationReader};

pub(crate) struct FakeDestinations {
    pub(crate) journal: Arc<Journal>,
    pub(crate) all: Mutex<Destinations>,
    /// Accounts that AWS takes in no policy.
    pub(crate) refused: Mutex<BTreeSet<AccountId>>,
    /// So many policies to come are overwritten by somebody else with what was there before.
    pub(crate) lost: AtomicUsize,
    /// So many readings after a write show what was there before it.
    pub(crate) lag: AtomicUsize,
    /// What lagging readings show, and how many of them are to come.
    stale: Mutex<(usize, Destinations)>,
}

type Destinations = BTreeMap<(Region, DestinationName), Destination>;

impl FakeDestinations {
    pub(crate) fn new(journal: &Arc<Journal>) -> Self {
        let (all, refused, lost) = Default::default();
        let (lag, stale) = Default::default();
        Self { journal: Arc::clone(journal), all, refused, lost, lag, stale }
    }

    /// Keeps the state before a write for the readings that lag behind it.
    fn begin_write(&self) {
        let lag = self.lag.load(Ordering::SeqCst);
        let mut stale = self.stale.lock().unwrap();
        if lag > 0 && stale.0 == 0 {
            *stale = (lag, self.all.lock().unwrap().clone());
        }
    }

    fn shown(&self) -> Destinations {
        let mut stale = self.stale.lock().unwrap();
        if stale.0 == 0 {
            return self.all.lock().unwrap().clone();
        }
        stale.0 -= 1;
        stale.1.clone()
    }

    /// The accounts that our statements in a Region list.
    pub(crate) fn granted(&self, region: &Region) -> BTreeSet<AccountId> {
        let all = self.all.lock().unwrap();
        let here = all.iter().filter(|((there, _), _)| there == region);
        let policies = here.filter_map(|(_, it)| DestinationPolicy::parse(it.policy.as_deref()?).ok());
        policies.flat_map(|policy| policy.accounts().clone()).collect()
    }

    /// Somebody changes a destination by hand.
    pub(crate) fn change(&self, region: &Region, name: &DestinationName, change: impl Fn(&mut Destination)) {
        change(self.all.lock().unwrap().get_mut(&(region.clone(), name.clone())).unwrap());
    }

    /// Makes a destination with a policy that lists these accounts.
    pub(crate) fn put(&self, region: &Region, destination: Destination, arn: &Arn, accounts: BTreeSet<AccountId>) {
        let policy = Some(DestinationPolicy::empty().with_accounts(accounts).render(arn));
        let key = (region.clone(), destination.name.clone());
        self.all.lock().unwrap().insert(key, Destination { policy, ..destination });
    }
}

#[async_trait]
impl DestinationReader for FakeDestinations {
    async fn destinations(&self, region: &Region, prefix: &DestinationName) -> AwsResult<Vec<Destination>> {
        self.journal.call("logs:DescribeDestinations", region).await?;
        let all = self.shown();
        let ours = |name: &DestinationName| name.as_str().starts_with(prefix.as_str());
        Ok(all.iter().filter(|((there, name), _)| there == region && ours(name)).map(|(_, it)| it.clone()).collect())
    }
}

#[async_trait]
impl DestinationWriter for FakeDestinations {
    async fn put_destination(
        &self,
        _: &WriterPermit,
        region: &Region,
        name: &DestinationName,
        target: &Arn,
        role: &Arn,
    ) -> AwsResult<()> {
        self.journal.call("logs:PutDestination", format!("{region} {name}")).await?;
        self.begin_write();
        let mut all = self.all.lock().unwrap();
        let policy = all.get(&(region.clone(), name.clone())).and_then(|it| it.policy.clone());
        let made = Destination { name: name.clone(), target: target.clone(), role: role.clone(), policy };
        all.insert((region.clone(), name.clone()), made);
        Ok(())
    }

    async fn put_policy(
        &self,
        _: &WriterPermit,
        region: &Region,
        name: &DestinationName,
        policy: &str,
        force: bool,
    ) -> AwsResult<()> {
        let forced = if force { " forced" } else { "" };
        self.journal.call("logs:PutDestinationPolicy", format!("{region} {name}{forced}")).await?;
        if self.refused.lock().unwrap().iter().any(|id| policy.contains(&id.to_string())) {
            let code = "InvalidParameterException";
            return Err(AwsError::answered("logs:PutDestinationPolicy", code, "as AWS does"));
        }
        self.begin_write();
        if self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |lost| lost.checked_sub(1)).is_err() {
            let mut all = self.all.lock().unwrap();
            all.get_mut(&(region.clone(), name.clone())).unwrap().policy = Some(policy.to_owned());
        }
        Ok(())
    }
}
