//! Differences that are wanted, as data.

use std::fmt::Debug;

use crate::client::Reading;

/// A way in which two readers of the same bytes differ, and why that is right.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The reason.
    pub why: &'static str,
    /// What ours says, by [`Reading::verdict`].
    pub ours: &'static str,
    /// What the other says; `*` is anything.
    pub theirs: &'static str,
    /// What is special in the bytes.
    pub is: fn(&[u8]) -> bool,
    /// Bytes for which it is so.
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
        // A fault may be found before the rest is there, or with it.
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
            "decide whether it is wanted: then it is a row of the table; or else a fault\n\
             input: \"{}\"\nours: {ours:?}\ntheirs: {theirs:?}",
            input[..input.len().min(2_000)].escape_ascii()
        );
        found
    }

    /// Checks that every row has its reason, and that its example differs for that reason.
    ///
    /// # Panics
    ///
    /// If not.
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
