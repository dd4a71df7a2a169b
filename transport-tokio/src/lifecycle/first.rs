use lambda_proto::client::Receipt;
use lambda_proto_host::lifecycle::Shutdown;
use lambda_proto_host::{Error, Failure, Starting};
use tokio::runtime::Handle;

use crate::runtime::Runtime;
use crate::worker::Worker;

/// The worker for the calls before the first invocation, if there are any.
pub(super) struct First {
    pub(super) runtime: Runtime,
    pub(super) tokio: Handle,
    pub(super) worker: Option<Worker>,
}

impl First {
    fn take(&mut self) -> Worker {
        self.worker.take().unwrap_or_else(|| self.runtime.tracked_worker())
    }
}

impl Starting for First {
    fn on_stop(&self, stopping: &Shutdown) {
        self.runtime.stop.set_stopping(stopping);
    }

    fn fail_init(&mut self, failure: &Failure) -> Result<(), Error> {
        let worker = self.take();
        self.tokio.block_on(worker.fail_init(failure))
    }

    fn restore_next(&mut self) -> Result<Option<Receipt>, Error> {
        let mut worker = self.take();
        let answer = self.tokio.block_on(worker.restore_next())?;
        self.worker = Some(worker);
        Ok(answer)
    }

    fn fail_restore(&mut self, failure: &Failure) -> Result<(), Error> {
        let worker = self.take();
        self.tokio.block_on(worker.fail_restore(failure))
    }
}
