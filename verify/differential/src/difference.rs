//! Intended differences between two readers, as data.

use std::fmt::Debug;

use crate::client::Reading;

/// A way in which two readers of the same bytes differ, and why that is right.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The reason.
    pub why: &'static str,
    /// The [verdict](Reading::verdict) of our reader.
    pub ours: &'static str,
    /// The verdict of the other reader; `*` is any verdict.
    pub theirs: &'static str,
    /// Whether the bytes have the property that causes the difference.
    pub is: fn(&[u8]) -> bool,
    /// Bytes that the two readers read differently.
    pub example: &'static [u8],
}

impl Difference {
    /// The reason why two readings of these bytes differ, if they do.
    ///
    /// # Panics
    ///
    /// If they differ in a way that is not in the table.
    pub fn of<'t, T: Debug + PartialEq>(
        table: &'t [Self],
        input: &[u8],
        ours: &Reading<T>,
        theirs: &Reading<T>,
    ) -> Option<&'t Self> {
        let is_whole = |reading: &Reading<T>| matches!(reading, Reading::Accepted(_));
        // One reader may find an error before the rest has arrived, the other only with the rest.
        if ours == theirs || (!is_whole(ours) && !is_whole(theirs)) {
            return None;
        }
        let is = |row: &&Self| {
            let is_theirs = row.theirs == "*" || row.theirs == theirs.verdict();
            row.ours == ours.verdict() && is_theirs && (row.is)(input)
        };
        let found = table.iter().find(is);
        assert!(
            found.is_some(),
            "decide whether this difference is wanted: add a row to the table, or fix the reader\n\
             input: \"{}\"\nours: {ours:?}\ntheirs: {theirs:?}",
            input[..input.len().min(2_000)].escape_ascii()
        );
        found
    }

    /// Checks that every row has a reason, and that its example differs for that reason.
    ///
    /// # Panics
    ///
    /// If a row fails the check.
    pub fn check_each<T: Debug + PartialEq>(
        table: &[Self],
        ours: impl Fn(&[u8]) -> Reading<T>,
        theirs: impl Fn(&[u8]) -> Reading<T>,
    ) {
        for row in table {
            let (ours, theirs) = (ours(row.example), theirs(row.example));
            let found = Self::of(table, row.example, &ours, &theirs);
            let is_this = found.is_some_and(|found| std::ptr::eq(found, row));
            assert!(is_this && !row.why.is_empty(), "{row:?}\nours: {ours:?}\ntheirs: {theirs:?}");
        }
    }
}
