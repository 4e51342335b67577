//! Finds the accounts that AWS rejects in a policy.

use std::collections::BTreeSet;

use crate::ids::AccountId;

/// Finds the accounts that make AWS reject a policy, by trying halves. AWS rejects a document as a whole and does not
/// name the principal, and one account must not keep hundreds from being granted.
///
/// Put a policy with [`Self::candidate`] and report the result with [`Self::accept`] or [`Self::refuse`], until there
/// is no candidate. For *k* rejected accounts of *n* that takes some 2 *k* log *n* puts. Accepted accounts stay in
/// every later candidate, so each put that succeeds leaves a better policy at AWS than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalBisection {
    accepted: BTreeSet<AccountId>,
    refused: BTreeSet<AccountId>,
    open: Vec<Vec<AccountId>>,
}

impl PrincipalBisection {
    /// Starts with accounts that AWS rejected together, while it accepted the policy without them.
    pub fn new(together: &BTreeSet<AccountId>) -> Self {
        let mut bisection = Self { accepted: BTreeSet::new(), refused: BTreeSet::new(), open: Vec::new() };
        bisection.split(together.iter().copied().collect());
        bisection
    }

    /// The accounts to put next, all at once; `None` once the result of each is known.
    pub fn candidate(&self) -> Option<BTreeSet<AccountId>> {
        let part = self.open.last()?;
        Some(self.accepted.iter().chain(part).copied().collect())
    }

    /// AWS accepted the candidate.
    pub fn accept(&mut self) {
        self.accepted.extend(self.open.pop().unwrap_or_default());
    }

    /// AWS rejected the candidate.
    pub fn refuse(&mut self) {
        let part = self.open.pop().unwrap_or_default();
        self.split(part);
    }

    /// The accounts that AWS accepts, as far as known.
    pub fn accepted(&self) -> &BTreeSet<AccountId> {
        &self.accepted
    }

    /// The accounts that AWS rejects, as far as known.
    pub fn refused(&self) -> &BTreeSet<AccountId> {
        &self.refused
    }

    /// A single rejected account is a result. Several are split into halves to try.
    fn split(&mut self, mut part: Vec<AccountId>) {
        if part.len() < 2 {
            self.refused.extend(part);
            return;
        }
        let rest = part.split_off(part.len() / 2);
        self.open.extend([rest, part]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accounts(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<AccountId> {
        numbers.into_iter().map(|number| format!("{number:012}").parse().unwrap()).collect()
    }

    /// Tries candidates until all is known; returns the number of puts.
    fn ask(bisection: &mut PrincipalBisection, bad: &BTreeSet<AccountId>) -> usize {
        let mut puts = 0;
        while let Some(candidate) = bisection.candidate() {
            puts += 1;
            if candidate.is_disjoint(bad) { bisection.accept() } else { bisection.refuse() }
        }
        puts
    }

    #[test]
    fn one_account_that_was_rejected_alone_needs_no_put() {
        let bisection = PrincipalBisection::new(&accounts([7]));
        assert_eq!((bisection.candidate(), bisection.refused()), (None, &accounts([7])));
    }

    #[test]
    fn one_of_three_hundred_is_found_with_few_puts() {
        let mut bisection = PrincipalBisection::new(&accounts(1..=300));
        let puts = ask(&mut bisection, &accounts([123]));
        assert!(puts <= 18, "{puts} puts");
        assert_eq!(bisection.refused(), &accounts([123]));
    }

    proptest! {
        #[test]
        fn every_account_is_accepted_or_found_to_be_rejected(
            all in prop::collection::btree_set(1_u64..400, 1..200),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        ) {
            let listed: Vec<u64> = all.iter().copied().collect();
            let bad = accounts(picks.iter().map(|pick| listed[pick.index(listed.len())]));
            let mut bisection = PrincipalBisection::new(&accounts(all));
            ask(&mut bisection, &bad);
            prop_assert_eq!(bisection.refused(), &bad);
            let good: BTreeSet<_> = accounts(listed).difference(&bad).copied().collect();
            prop_assert_eq!(bisection.accepted(), &good);
        }
    }
}
