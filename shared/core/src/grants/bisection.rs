//! Which of the accounts that are to be granted AWS will not take.

use std::collections::BTreeSet;

use crate::ids::AccountId;

/// Finds the accounts that make AWS refuse a policy, by asking about halves: AWS refuses a document as a whole, does not
/// say for which principal, and one account must not keep hundreds from being granted.
///
/// Ask about [`Self::candidate`], say what the answer was, until there is none. For *k* refused accounts of *n* that
/// takes some 2 *k* log *n* questions. What was accepted stays in every later candidate, so each question that is
/// answered with yes leaves AWS with a better policy than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalBisection {
    accepted: BTreeSet<AccountId>,
    refused: BTreeSet<AccountId>,
    open: Vec<Vec<AccountId>>,
}

impl PrincipalBisection {
    /// For accounts that were refused together, while the policy without any of them was taken.
    pub fn new(together: &BTreeSet<AccountId>) -> Self {
        let mut bisection = Self { accepted: BTreeSet::new(), refused: BTreeSet::new(), open: Vec::new() };
        bisection.split(together.iter().copied().collect());
        bisection
    }

    /// The accounts to ask about next, all at once; `None` when each is known.
    pub fn candidate(&self) -> Option<BTreeSet<AccountId>> {
        let part = self.open.last()?;
        Some(self.accepted.iter().chain(part).copied().collect())
    }

    /// AWS took the candidate.
    pub fn accept(&mut self) {
        self.accepted.extend(self.open.pop().unwrap_or_default());
    }

    /// AWS refused the candidate.
    pub fn refuse(&mut self) {
        let part = self.open.pop().unwrap_or_default();
        self.split(part);
    }

    /// The accounts that were taken.
    pub fn accepted(&self) -> &BTreeSet<AccountId> {
        &self.accepted
    }

    /// The accounts that AWS refuses.
    pub fn refused(&self) -> &BTreeSet<AccountId> {
        &self.refused
    }

    /// One refused account is found; of several, each half is asked about.
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

    /// Asks until all is known; returns how many questions that took.
    fn ask(bisection: &mut PrincipalBisection, bad: &BTreeSet<AccountId>) -> usize {
        let mut questions = 0;
        while let Some(candidate) = bisection.candidate() {
            questions += 1;
            if candidate.is_disjoint(bad) { bisection.accept() } else { bisection.refuse() }
        }
        questions
    }

    #[test]
    fn one_account_that_was_refused_alone_needs_no_question() {
        let bisection = PrincipalBisection::new(&accounts([7]));
        assert_eq!((bisection.candidate(), bisection.refused()), (None, &accounts([7])));
    }

    #[test]
    fn one_of_three_hundred_is_found_with_few_questions() {
        let mut bisection = PrincipalBisection::new(&accounts(1..=300));
        let questions = ask(&mut bisection, &accounts([123]));
        assert!(questions <= 18, "{questions} questions");
        assert_eq!(bisection.refused(), &accounts([123]));
    }

    proptest! {
        #[test]
        fn every_account_is_taken_or_found_to_be_refused(
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
