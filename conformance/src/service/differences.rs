use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::service::player::Failure;
use crate::service::step::all;

/// A known deviation of a service from a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name of the file of the vector.
    pub file: String,
    /// The name of the vector.
    pub vector: String,
    /// The first step that fails; `None` if the vector cannot be played against the service.
    pub step: Option<usize>,
    /// What comes instead.
    pub came: String,
    /// Why the service deviates, or why the vector cannot be played.
    pub why: String,
}

/// Differences with the same reason, as the file has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notation {
    file: String,
    /// All vectors of the file, if there is none.
    #[serde(default)]
    vectors: Vec<String>,
    step: Option<usize>,
    #[serde(default)]
    came: String,
    why: String,
}

/// The result of a vector with a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service does what the vector says.
    Conforms,
    /// A known deviation, with its reason.
    Differs(Failure, String),
    /// An unknown deviation.
    Fails(Failure),
    /// A known deviation no longer occurs.
    NoLonger(String),
    /// The vector cannot be played against this service, for this reason.
    NotApplicable(String),
}

/// The results of a vector with each service.
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

/// The known differences of this service, from `conformance/service/known/`.
///
/// # Errors
///
/// A text that says what is wrong with the file.
pub fn differences(service: &str) -> Result<Vec<Difference>, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("service/known");
    let path = folder.join(service).with_extension("json");
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| at(&error))?;
    let groups: Vec<Notation> = serde_json::from_str(&text).map_err(|error| at(&error))?;
    let files = all()?;
    let rows = groups.into_iter().flat_map(|Notation { file, mut vectors, step, came, why }| {
        if vectors.is_empty() {
            let all = files.get(&file).into_iter().flat_map(|it| &it.vectors);
            vectors.extend(all.map(|vector| vector.name.clone()));
        }
        if vectors.is_empty() {
            // A file that does not exist, which is refused below.
            vectors.push(String::new());
        }
        vectors.into_iter().map(move |vector| Difference {
            file: file.clone(),
            vector,
            step,
            came: came.clone(),
            why: why.clone(),
        })
    });
    let differences: Vec<_> = rows.collect();
    for (index, row) in differences.iter().enumerate() {
        let Difference { file, vector, why, .. } = row;
        let is_there =
            files.get(file).is_some_and(|it| it.vectors.iter().any(|it| it.name == *vector));
        let is_double = differences[..index].iter().any(|it| it.is_of(file, vector));
        if !is_there || is_double || why.is_empty() {
            return Err(at(&format!(
                "\"{vector}\" of {file}: no such vector, listed twice, or without a reason"
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

/// The outcome of a vector, given the known difference.
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

/// The outcomes that need attention: unknown deviations, and known ones that no longer occur.
pub fn complaints<'o>(
    outcomes: impl IntoIterator<Item = (&'o str, &'o str, &'o Outcome)>,
) -> Vec<String> {
    let outcomes = outcomes.into_iter();
    let complaints = outcomes.filter_map(|(file, vector, outcome)| {
        let what = match outcome {
            Outcome::Fails(failure) => failure.to_string(),
            Outcome::NoLonger(came) => format!("no longer occurs: {came}"),
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
    fn complaints_are_unknown_deviations_and_known_ones_that_no_longer_occur() {
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
    fn every_known_difference_names_a_vector_and_a_reason() {
        for service in ["lab", "emulator"] {
            differences(service).unwrap();
        }
    }
}
