//! Which rows of the table a test has reached, and from which stages.

use std::collections::HashMap;

use super::{Row, Stage};

/// A row, and the stage that it was reached from.
pub(crate) type Reach = (&'static Row, Stage);

#[derive(Default)]
pub(crate) struct Reached(HashMap<Reach, u64>);

impl Reached {
    pub(crate) fn note(&mut self, reach: Reach) {
        *self.0.entry(reach).or_default() += 1;
    }

    /// Prints these rows, and fails unless each was reached from each of its stages and no other
    /// row was reached.
    pub(crate) fn check(&self, rows: impl IntoIterator<Item = &'static Row>) {
        let mut expected = Vec::new();
        println!("how often each row was reached, from each stage:");
        for row in rows {
            println!("\n  {}", row.words);
            for stage in row.from {
                let count = self.0.get(&(row, *stage)).copied().unwrap_or_default();
                println!("    {:<24}{count:>10}", stage.facts().name);
                expected.push((row, *stage));
            }
        }
        let missing: Vec<_> =
            expected.iter().filter(|reach| !self.0.contains_key(*reach)).collect();
        let surplus: Vec<_> = self.0.keys().filter(|reach| !expected.contains(reach)).collect();
        assert!(missing.is_empty(), "not reached: {missing:#?}");
        assert!(surplus.is_empty(), "other rows were reached: {surplus:#?}");
    }
}
