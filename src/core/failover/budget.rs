//! How much is spent on second tries: queries that a server has failed, though it answers others, and that the next one is sent.
//!
//! A second try that is answered is worth it. Where both servers are overloaded it is not, and makes that worse. So each takes a
//! token, and returns it with another one if it is answered. Five queries that are answered return one, too. Without a token there is no
//! second try. This is the retry throttling
//! of gRPC (proposal A6, with its ten tokens) with the fifth of Finagle's `RetryBudget`. In both of them a second try costs a token even
//! if it is answered; here a server that fails many queries is to cost nobody an answer that another server has.

/// What a second try in vain costs, in fifths of a token.
const TRY: u32 = 5;

/// What a query returns that is answered in full.
const ANSWER: u32 = 1;

/// The most that can be saved.
const MOST: u32 = 10 * TRY;

/// The tokens that are left.
#[derive(Debug)]
pub(super) struct Budget {
    fifths: u32,
    /// Whether a second try was refused since all tokens were there.
    has_refused: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { fifths: MOST, has_refused: false }
    }
}

impl Budget {
    /// Takes the token for a second try, which is returned if that is answered. Returns whether there was one.
    pub(super) fn take(&mut self) -> bool {
        let left = self.fifths.checked_sub(TRY);
        self.fifths = left.unwrap_or(self.fifths);
        left.is_some()
    }

    /// A second try is not made. Returns whether this is the first one since all tokens were there.
    pub(super) fn refused(&mut self) -> bool {
        !std::mem::replace(&mut self.has_refused, true)
    }

    /// A query was answered in full.
    pub(super) fn answered(&mut self) {
        self.receive(ANSWER);
    }

    /// A second try was answered in full: its token is returned if it took one, and one more is received.
    pub(super) fn relieved(&mut self, was_taken: bool) {
        self.receive(if was_taken { 2 * TRY } else { TRY });
    }

    fn receive(&mut self, fifths: u32) {
        self.fifths = self.fifths.saturating_add(fifths).min(MOST);
        self.has_refused &= self.fifths < MOST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many second tries in vain are allowed from here on.
    fn spent(budget: &mut Budget) -> usize {
        let mut tries = 0;
        while budget.take() {
            tries += 1;
        }
        tries
    }

    #[test]
    fn second_tries_in_vain_are_a_fifth_of_the_queries_that_are_answered() {
        let mut budget = Budget::default();
        assert_eq!(spent(&mut budget), 10);
        for answered in [4, 1] {
            assert!(!budget.take());
            (0..answered).for_each(|_| budget.answered());
        }
        assert_eq!(spent(&mut budget), 1);
        (0..1_000).for_each(|_| budget.answered());
        assert_eq!(spent(&mut budget), 10, "no more is saved");
    }

    #[test]
    fn second_tries_go_on_as_long_as_half_of_them_are_answered() {
        let mut budget = Budget::default();
        for number in 0..1_000 {
            assert!(budget.take());
            if number % 2 == 0 {
                budget.relieved(true);
            }
        }
        for number in 0..1_000 {
            if budget.take() && number % 3 == 1 {
                budget.relieved(true);
            }
        }
        assert!(!budget.take());
    }

    #[test]
    fn the_first_refusal_is_told_until_all_tokens_are_there_again() {
        let mut budget = Budget::default();
        assert!(budget.refused());
        spent(&mut budget);
        (0..49).for_each(|_| budget.answered());
        assert!(!budget.refused());
        budget.answered();
        assert!(budget.refused());
    }
}
