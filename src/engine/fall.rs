//! A panic on a worker. The runtime catches that of a task, and the task is gone without a word: nobody would wait for
//! it any less, and the run would never end. What falls says so here.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::mpsc::UnboundedSender;

use super::vu::Handle;
use super::worker::Report;

/// Whether a task of this worker has panicked.
#[derive(Debug, Clone, Default)]
pub(super) struct Fallen(Rc<Cell<bool>>);

impl Fallen {
    pub(super) fn set(&self) {
        self.0.set(true);
    }

    pub(super) fn get(&self) -> bool {
        self.0.get()
    }

    /// What a task holds while it runs.
    pub(super) fn by_task(&self) -> TaskFall {
        TaskFall { fallen: self.clone(), handle: None }
    }

    /// The same of a VU, which is gone then.
    pub(super) fn by_vu(&self, handle: &Rc<Handle>) -> TaskFall {
        TaskFall { fallen: self.clone(), handle: Some(handle.clone()) }
    }
}

/// Falls with its task.
pub(super) struct TaskFall {
    fallen: Fallen,
    handle: Option<Rc<Handle>>,
}

impl Drop for TaskFall {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fallen.set();
            self.handle.iter().for_each(|handle| handle.gone.set(true));
        }
    }
}

/// Falls with its thread.
pub(super) struct ThreadFall {
    pub(super) worker: usize,
    pub(super) reports: UnboundedSender<Report>,
}

impl Drop for ThreadFall {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Where nobody listens the run is being abandoned.
            let _ = self.reports.send(Report::Fell(self.worker));
        }
    }
}
