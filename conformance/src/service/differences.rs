use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::service::player::Failure;
use crate::service::step::all;

/// Where a service is known to do otherwise than a vector says, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name of the file of the vector.
    pub file: String,
    /// The name of the vector.
    pub vector: String,
    /// The first step at which it does otherwise; none if the vector cannot be played with it.
    pub step: Option<usize>,
    /// What comes there instead.
    pub came: String,
    /// Why that is so, or why it cannot be played.
    pub why: String,
}

/// Differences of one kind, as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notation {
    file: String,
    vectors: Vec<String>,
    step: Option<usize>,
    #[serde(default)]
    came: String,
    why: String,
}

/// What came of a vector with a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service does what the vector says.
    Conforms,
    /// It does not, which is known, and why.
    Differs(Failure, String),
    /// It does not, which is not known.
    Fails(Failure),
    /// It is known to do otherwise, and does not.
    NoLonger(String),
    /// The vector cannot be played with it, for this reason.
    NotApplicable(String),
}

/// What came of a vector with each service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name of the file.
    pub file: String,
    /// The name of the vector.
    pub vector: String,
    /// With the lab of this repository.
    pub lab: Outcome,
    /// With AWS's emulator.
    pub emulator: Outcome,
}

/// The differences that are known of this service, from `conformance/service/known/`.
///
/// # Errors
///
/// What is wrong with the file, in words.
pub fn differences(service: &str) -> Result<Vec<Difference>, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("service/known");
    let path = folder.join(service).with_extension("json");
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| at(&error))?;
    let groups: Vec<Notation> = serde_json::from_str(&text).map_err(|error| at(&error))?;
    let rows = groups.into_iter().flat_map(|Notation { file, vectors, step, came, why }| {
        vectors.into_iter().map(move |vector| Difference {
            file: file.clone(),
            vector,
            step,
            came: came.clone(),
            why: why.clone(),
        })
    });
    let differences: Vec<_> = rows.collect();
    let files = all()?;
    for (index, row) in differences.iter().enumerate() {
        let Difference { file, vector, why, .. } = row;
        let is_there =
            files.get(file).is_some_and(|it| it.vectors.iter().any(|it| it.name == *vector));
        let is_double = differences[..index].iter().any(|it| it.is_of(file, vector));
        if !is_there || is_double || why.is_empty() {
            return Err(at(&format!(
                "\"{vector}\" of {file}: no such, twice, or without a reason"
            )));
        }
    }
    Ok(differences)
}

impl Difference {
    /// Whether it is about this vector.
    pub fn is_of(&self, file: &str, vector: &str) -> bool {
        self.file == file && self.vector == vector
    }
}

/// What came of a vector, in the light of what is known of it.
pub fn outcome(played: Result<(), Failure>, known: Option<&Difference>) -> Outcome {
    match (played, known) {
        (Ok(()), None) => Outcome::Conforms,
        (Ok(()), Some(known)) => Outcome::NoLonger(known.came.clone()),
        (Err(failure), Some(known))
            if known.step == Some(failure.step) && known.came == failure.came =>
        {
            Outcome::Differs(failure, known.why.clone())
        }
        (Err(failure), _) => Outcome::Fails(failure),
    }
}

/// What nobody has decided about: differences that are not known, and known ones that are no more.
pub fn complaints<'o>(
    outcomes: impl IntoIterator<Item = (&'o str, &'o str, &'o Outcome)>,
) -> Vec<String> {
    let outcomes = outcomes.into_iter();
    let complaints = outcomes.filter_map(|(file, vector, outcome)| {
        let what = match outcome {
            Outcome::Fails(failure) => failure.to_string(),
            Outcome::NoLonger(came) => format!("there comes no longer {came}"),
            Outcome::Conforms | Outcome::Differs(..) | Outcome::NotApplicable(_) => return None,
        };
        Some(format!("{file}: \"{vector}\": {what}"))
    });
    complaints.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_known_and_what_is_no_more_is_complained_of() {
        let failure = |step, came: &str| Failure { step, expected: "e".into(), came: came.into() };
        let known = Difference {
            file: "f".into(),
            vector: "v".into(),
            step: Some(2),
            came: "c".into(),
            why: "w".into(),
        };
        for (played, known, is_complaint) in [
            (Ok(()), None, false),
            (Ok(()), Some(&known), true),
            (Err(failure(2, "c")), Some(&known), false),
            (Err(failure(1, "c")), Some(&known), true),
            (Err(failure(2, "d")), Some(&known), true),
            (Err(failure(2, "c")), None, true),
        ] {
            let outcome = outcome(played, known);
            let complaints = complaints([("f", "v", &outcome)]);
            assert_eq!(!complaints.is_empty(), is_complaint, "{outcome:?}");
        }
    }

    #[test]
    fn every_known_difference_is_of_a_vector_and_has_a_reason() {
        for service in ["lab", "emulator"] {
            differences(service).unwrap();
        }
    }
}
