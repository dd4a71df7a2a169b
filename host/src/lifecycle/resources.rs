use std::any::{Any, type_name};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The values that init hooks have put, as they were at one moment. Clones share the values.
///
/// A value is found by its type, and by its name if it has one. Two values of one type need
/// different names, or each its own wrapper type:
///
/// ```
/// use lambda_proto_host::lifecycle::{Lifecycle, Shutdown, Store, run_init};
/// use lambda_proto_host::policy::Options;
/// use lambda_proto_host::Log;
///
/// struct Orders(String);
/// struct Invoices(String);
///
/// let lifecycle = Lifecycle::new()
///     .on_init("tables", |init| {
///         init.put(Orders("orders-eu".to_owned()));
///         init.put(Invoices("invoices-eu".to_owned()));
///     })
///     .on_init("limits", |init| {
///         init.put_named("pages", 17_u32);
///         init.put_named("rows", 1_000_u32);
///     });
/// let store = Store::default();
/// let hooks = lifecycle.into_parts().init;
/// run_init(hooks, &Options::new(), &store, &Shutdown::new(), &Log::default()).unwrap();
///
/// let values = store.values();
/// assert_eq!(values.get::<Invoices>().unwrap().0, "invoices-eu");
/// assert_eq!(values.get_named::<u32>("rows"), Some(&1_000));
/// assert_eq!(values.get::<u32>(), None);
/// ```
#[derive(Clone, Default)]
pub struct Resources(Arc<Vec<Entry>>);

#[derive(Clone)]
struct Entry {
    /// The name of the value; empty if it has none.
    name: Cow<'static, str>,
    value: Value,
    type_name: &'static str,
    /// The hook that put it.
    hook: Cow<'static, str>,
}

type Value = Arc<dyn Any + Send + Sync>;

impl Resources {
    /// The value of this type without a name, if a hook has put one.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.get_named("")
    }

    /// The value of this type and name, if a hook has put one.
    pub fn get_named<T: Any + Send + Sync>(&self, name: &str) -> Option<&T> {
        self.0.get(self.place::<T>(name)?)?.value.downcast_ref()
    }

    /// The values, each with a description; `None` if something else still uses them.
    pub(super) fn into_values(self) -> Option<Vec<(String, Value)>> {
        if self.0.is_empty() {
            return Some(Vec::new());
        }
        let entries = Arc::into_inner(self.0)?;
        let described = |Entry { name, value, type_name, hook }: Entry| {
            let named = named(&name);
            (format!("the {type_name}{named} of init hook {hook:?}"), value)
        };
        Some(entries.into_iter().map(described).collect())
    }

    fn place<T: Any + Send + Sync>(&self, name: &str) -> Option<usize> {
        // There are few values: a map would not find them faster.
        self.0.iter().position(|entry| entry.value.is::<T>() && entry.name == name)
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

/// The shared store of the values of init hooks. Clones refer to the same store.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    values: Resources,
    is_closed: bool,
    /// The names of the init hooks that run.
    running: Vec<Cow<'static, str>>,
}

/// Whether a value may replace another of the same type and name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaces {
    No,
    Yes,
}

impl Store {
    /// The values that have been put so far.
    pub fn values(&self) -> Resources {
        self.lock().values.clone()
    }

    /// Puts a value for this hook. Returns an error message if there already is one that it may not
    /// replace. If the store is closed, the value is dropped.
    pub(super) fn put<T: Any + Send + Sync>(
        &self,
        hook: Cow<'static, str>,
        name: Cow<'static, str>,
        value: T,
        replaces: Replaces,
    ) -> Result<(), String> {
        let value = Arc::new(value);
        let mut stored = self.lock();
        if stored.is_closed {
            // Unlocked first, here and below: dropping a value may take long, or use the store.
            drop(stored);
            return Ok(());
        }
        let place = stored.values.place::<T>(&name);
        let other = place.and_then(|place| stored.values.0.get(place));
        if let (Replaces::No, Some(other)) = (replaces, other) {
            let message = already_put(type_name::<T>(), &name, &hook, &other.hook);
            drop(stored);
            return Err(message);
        }
        let entry = Entry { name, value, type_name: type_name::<T>(), hook };
        let mut entries = Vec::clone(&stored.values.0);
        match place.and_then(|place| entries.get_mut(place)) {
            Some(place) => *place = entry,
            None => entries.push(entry),
        }
        let before = std::mem::replace(&mut stored.values, Resources(entries.into()));
        drop(stored);
        drop(before);
        Ok(())
    }

    pub(super) fn get<T: Any + Send + Sync>(&self, name: &str) -> Option<Arc<T>> {
        let values = self.values();
        let entry = values.0.get(values.place::<T>(name)?)?;
        Arc::clone(&entry.value).downcast().ok()
    }

    /// Notes that a hook begins to put its values.
    pub(super) fn hook_begins(&self, name: Cow<'static, str>) {
        self.lock().running.push(name);
    }

    /// Notes that a hook has ended.
    pub(super) fn hook_has_ended(&self, name: &str) {
        let running = &mut self.lock().running;
        if let Some(at) = running.iter().position(|other| other == name) {
            running.swap_remove(at);
        }
    }

    /// The names of the init hooks that run.
    #[cfg(unix)]
    pub(crate) fn running_hooks(&self) -> Vec<Cow<'static, str>> {
        self.lock().running.clone()
    }

    /// Takes the values out of the store, which stays empty from then on. Each value is dropped
    /// when its last user is gone.
    pub(super) fn close(&self) -> Resources {
        let mut stored = self.lock();
        stored.is_closed = true;
        std::mem::take(&mut stored.values)
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.values()).finish()
    }
}

fn already_put(type_name: &str, name: &str, hook: &str, other: &str) -> String {
    let named = named(name);
    format!(
        "init hooks {other:?} and {hook:?} both put a {type_name}{named}: give each a name \
         (put_named) or a type of its own, or replace the other on purpose (replace)"
    )
}

fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" named {name:?}") }
}
