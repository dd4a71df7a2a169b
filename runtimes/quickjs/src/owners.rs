//! Which invocation each piece of JavaScript belongs to.
//!
//! A macrotask belongs to the invocation that started it, and the jobs that it queues belong to the
//! same one, with one exception: a reaction to a promise that was pending belongs to the invocation
//! that attached it, also if another one settles the promise. So reactions have markers around
//! them, which are reactions of the same promise, and run in the same order:
//!
//! ```text
//! A attaches a reaction to p:   p: [enter A] [reaction] [leave]
//! B settles p:                  jobs of B … [enter A] [reaction] [leave] … jobs of B
//! ```
//!
//! QuickJS reads `promise.constructor` immediately before each `await` and `then` attaches a
//! reaction. A getter there attaches `enter`; the end of the job or macrotask attaches `leave`.
//! The jobs that such a reaction queues get markers in the same way, since each of the ways to queue
//! one can be seen: by that getter, by a getter of `then`, which the resolution of a promise with
//! another one reads, and by QuickJS's hook for new promises, which `await` makes of other values.
//!
//! What is not carried: a reaction to an object with a `then` of its own, or to an instance of a
//! subclass of `Promise`, belongs to the invocation that settles it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use rquickjs::function::This;
use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Function, Object, Persistent, Promise, Result, Value};

/// An invocation, as the owner of JavaScript.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    /// Counts the invocations of the slot; 0 is init.
    pub(crate) number: u64,
    /// Empty for init.
    pub(crate) request_id: String,
}

/// The owner of the code that runs now, and what is needed to carry it.
pub(crate) struct Owners {
    /// The owner of the macrotask.
    base: RefCell<Rc<Owner>>,
    /// The owners of the reactions that have been entered.
    entered: RefCell<Vec<Rc<Owner>>>,
    /// The promises to which the current job has attached `enter`.
    marked: RefCell<HashSet<Persistent<Promise<'static>>>>,
    /// Whether the getters do nothing.
    is_suspended: Cell<bool>,
    functions: RefCell<Option<Functions>>,
    /// The function that enters the latest owner that needed one.
    enter: RefCell<Option<(Rc<Owner>, Persistent<Function<'static>>)>>,
}

/// What the getters use.
#[derive(Clone)]
struct Functions {
    constructor: Persistent<Value<'static>>,
    then: Persistent<Function<'static>>,
    leave: Persistent<Function<'static>>,
    /// A fulfilled promise, for jobs.
    fulfilled: Persistent<Promise<'static>>,
}

impl Owners {
    pub(crate) fn new() -> Self {
        Self {
            base: RefCell::default(),
            entered: RefCell::default(),
            marked: RefCell::default(),
            is_suspended: Cell::new(false),
            functions: RefCell::default(),
            enter: RefCell::default(),
        }
    }

    /// The owner of the code that runs now.
    pub(crate) fn current(&self) -> Rc<Owner> {
        self.entered.borrow().last().cloned().unwrap_or_else(|| self.base.borrow().clone())
    }

    /// Begins a macrotask of this owner. The queue of jobs must be empty.
    pub(crate) fn begin(&self, owner: &Rc<Owner>) {
        self.is_suspended.set(false);
        self.entered.borrow_mut().clear();
        *self.base.borrow_mut() = owner.clone();
    }

    /// Replaces `Promise.prototype.constructor` and `Promise.prototype.then` by getters.
    ///
    /// # Errors
    ///
    /// If the memory does not suffice.
    pub(crate) fn install<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        native: &Object<'js>,
    ) -> Result<()> {
        let constructor: Object<'js> = ctx.globals().get("Promise")?;
        let prototype: Object<'js> = constructor.get("prototype")?;
        let then: Function<'js> = prototype.get("then")?;
        let leaving = self.clone();
        let leave = Function::new(ctx.clone(), move || {
            leaving.entered.borrow_mut().pop();
        })?;
        let resolve: Function<'js> = constructor.get("resolve")?;
        let fulfilled: Promise<'js> = resolve.call((This(constructor.clone()),))?;
        *self.functions.borrow_mut() = Some(Functions {
            constructor: Persistent::save(ctx, constructor.into_value()),
            then: Persistent::save(ctx, then),
            leave: Persistent::save(ctx, leave),
            fulfilled: Persistent::save(ctx, fulfilled),
        });
        let attaching = self.clone();
        let get_constructor = move |ctx: Ctx<'js>, this: This<Value<'js>>| {
            attaching.will_attach(&ctx, &this.0)?;
            attaching.functions()?.constructor.restore(&ctx)
        };
        native.set("promiseConstructor", Function::new(ctx.clone(), get_constructor)?)?;
        let queueing = self.clone();
        let get_then = move |ctx: Ctx<'js>| {
            queueing.will_queue(&ctx)?;
            queueing.functions()?.then.restore(&ctx)
        };
        native.set("promiseThen", Function::new(ctx.clone(), get_then)?)?;
        let suspending = self.clone();
        let suspend = move |is_suspended: bool| suspending.is_suspended.replace(is_suspended);
        native.set("suspendOwners", Function::new(ctx.clone(), suspend)?)
    }

    /// Notes that a promise was made. A job for it may follow.
    pub(crate) fn has_new_promise(self: &Rc<Self>, ctx: &Ctx<'_>) {
        if self.will_queue(ctx).is_err() {
            // The memory does not suffice, which the code finds out itself.
            let _exception = ctx.catch();
        }
    }

    fn functions(&self) -> Result<Functions> {
        self.functions.borrow().clone().ok_or(rquickjs::Error::Unknown)
    }

    /// Marks that a reaction is about to be attached to this value, if it is a promise.
    fn will_attach<'js>(self: &Rc<Self>, ctx: &Ctx<'js>, value: &Value<'js>) -> Result<()> {
        if self.is_suspended.get() {
            return Ok(());
        }
        let Some(promise) = value.as_promise() else { return Ok(()) };
        if promise.state() != PromiseState::Pending {
            // The reaction is queued immediately, as a job of the current one.
            return self.will_queue(ctx);
        }
        self.mark(ctx, promise)
    }

    /// Marks that a job is about to be queued. Jobs of the macrotask's own owner need no marker.
    fn will_queue(self: &Rc<Self>, ctx: &Ctx<'_>) -> Result<()> {
        if self.is_suspended.get() || self.entered.borrow().is_empty() {
            return Ok(());
        }
        let fulfilled = self.functions()?.fulfilled.restore(ctx)?;
        self.mark(ctx, &fulfilled)
    }

    fn mark<'js>(self: &Rc<Self>, ctx: &Ctx<'js>, promise: &Promise<'js>) -> Result<()> {
        if !self.marked.borrow_mut().insert(Persistent::save(ctx, promise.clone())) {
            return Ok(());
        }
        let owner = self.current();
        let cached = self.enter.borrow().clone().filter(|(of, _)| Rc::ptr_eq(of, &owner));
        let enter = match cached {
            Some((_, enter)) => enter.restore(ctx)?,
            None => self.enter(ctx, &owner)?,
        };
        self.attach(ctx, promise, &enter)
    }

    /// The function that enters this owner.
    fn enter<'js>(self: &Rc<Self>, ctx: &Ctx<'js>, owner: &Rc<Owner>) -> Result<Function<'js>> {
        let (entering, entered) = (self.clone(), owner.clone());
        let enter = Function::new(ctx.clone(), move || {
            entering.entered.borrow_mut().push(entered.clone());
        })?;
        *self.enter.borrow_mut() = Some((owner.clone(), Persistent::save(ctx, enter.clone())));
        Ok(enter)
    }

    fn attach<'js>(
        &self,
        ctx: &Ctx<'js>,
        promise: &Promise<'js>,
        marker: &Function<'js>,
    ) -> Result<()> {
        let then = self.functions()?.then.restore(ctx)?;
        let was_suspended = self.is_suspended.replace(true);
        let attached =
            then.call::<_, Value<'js>>((This(promise.clone()), marker.clone(), marker.clone()));
        self.is_suspended.set(was_suspended);
        attached.map(drop)
    }

    /// Ends a job or a macrotask: closes the markers that it has opened.
    ///
    /// # Errors
    ///
    /// If the memory does not suffice.
    pub(crate) fn end_job(&self, ctx: &Ctx<'_>) -> Result<()> {
        // An interrupt runs no `finally`, which would have done it.
        self.is_suspended.set(false);
        if self.marked.borrow().is_empty() {
            return Ok(());
        }
        let marked: Vec<_> = self.marked.borrow_mut().drain().collect();
        let leave = self.functions()?.leave.restore(ctx)?;
        let mut all = Ok(());
        for promise in marked {
            let attached =
                promise.restore(ctx).and_then(|promise| self.attach(ctx, &promise, &leave));
            all = all.and(attached);
        }
        all
    }
}
