use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The values that the init hooks have put, by type; clones share them.
///
/// No value is added any more, so reading takes no lock.
///
/// ```
/// use lambda_proto_host::Log;
/// use lambda_proto_host::lifecycle::{Lifecycle, run_init};
/// use lambda_proto_host::policy::Options;
///
/// struct Table(Vec<u32>);
///
/// let lifecycle = Lifecycle::new().on_init("table", |init| init.put(Table(vec![1, 2])));
/// let resources = run_init(lifecycle.into_parts().init, &Options::new(), &Log::default()).unwrap();
/// assert_eq!(resources.get::<Table>().unwrap().0, [1, 2]);
/// assert!(resources.get::<String>().is_none());
/// ```
#[derive(Clone, Default)]
pub struct Resources(Arc<[Resource]>);

type Resource = Arc<dyn Any + Send + Sync>;

impl Resources {
    /// The value of this type, if a hook has put one.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        // There are few values: a map would not find them faster.
        self.0.iter().find_map(|resource| resource.downcast_ref())
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

/// The values while hooks still add to them.
#[derive(Default)]
pub(super) struct Making(Mutex<Vec<Resource>>);

impl Making {
    pub(super) fn put<T: Any + Send + Sync>(&self, value: T) {
        let value: Resource = Arc::new(value);
        let mut resources = self.lock();
        let before = match resources.iter_mut().find(|resource| resource.is::<T>()) {
            Some(place) => Some(std::mem::replace(place, value)),
            None => {
                resources.push(value);
                None
            }
        };
        // Unlocked first: dropping the old value may take long, and other hooks want to put theirs.
        drop(resources);
        drop(before);
    }

    pub(super) fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let found = self.lock().iter().find(|resource| resource.is::<T>()).cloned();
        found?.downcast().ok()
    }

    /// Takes the values put so far.
    pub(super) fn freeze(&self) -> Resources {
        Resources(std::mem::take(&mut *self.lock()).into())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Resource>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
