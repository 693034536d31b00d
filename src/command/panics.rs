//! A panic is a fault of ours, and ends a command as any other fault does: it is said, without a key in it, what was made
//! on the server is removed, and the exit code is the documented one.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::task::Poll;

use anyhow::anyhow;

use super::failure::Failure;
use super::say;
use crate::exit::Exit;
use crate::secret;

/// Has panics said in our own words, for good.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| say(&words(panic))));
}

/// What went wrong and where. The message may have anything in it, a header or a URL: keys are taken out.
fn words(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    let thread = std::thread::current().name().map_or_else(String::new, |name| format!(" in {name}"));
    let message = secret::redact(panic.payload_as_str().unwrap_or("it did not say what"));
    let said = format!("this is a bug in connect-bench{place}{thread}: {message}");
    let trace = Backtrace::capture();
    match trace.status() {
        BacktraceStatus::Captured => format!("{said}\n{}", secret::redact(&trace.to_string())),
        _ => said,
    }
}

fn failure() -> Failure {
    let error = anyhow!("a fault of connect-bench itself (above); what was measured until then: connect-bench report");
    Failure::new(Exit::Fault, error)
}

/// The result of a future, or the failure that its panic is.
pub(super) async fn caught<T>(
    mut future: std::pin::Pin<Box<impl Future<Output = Result<T, Failure>>>>,
) -> Result<T, Failure> {
    poll_fn(|cx| {
        // What it has borrowed is only told how it ended, and cleaned up.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        polled.unwrap_or_else(|_told| Poll::Ready(Err(failure())))
    })
    .await
}

/// The same of a whole command.
pub(super) fn stopped<T>(command: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_told| Err(failure()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_and_what_was_borrowed_is_still_there() {
        let mut made = vec!["an item"];
        let borrowed = &mut made;
        let ended = caught(Box::pin(async move {
            tokio::task::yield_now().await;
            borrowed.push("another");
            assert!(borrowed.is_empty(), "this is meant to fail");
            Ok(())
        }));
        assert_eq!(ended.await.map_err(|failure| failure.exit), Err(Exit::Fault));
        assert_eq!(made, ["an item", "another"]);
        assert_eq!(caught(Box::pin(async { Ok(7) })).await.map_err(|failure| failure.exit), Ok(7));
        let ended: Result<(), Failure> = stopped(|| panic!("this is meant to fail"));
        assert_eq!(ended.map_err(|failure| failure.exit), Err(Exit::Fault));
    }
}
