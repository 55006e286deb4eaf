//! A panic of the parser becomes an error: tract trusts its input in places.

use super::names::printable;
use crate::Error;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work` on the model in `path`; its panics are silent and become [`Error::Model`].
pub(super) fn guard<T>(path: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, Error> {
    install_hook();
    GUARDED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    let result = result.unwrap_or_else(|_| {
        Err(format!(
            "the file is damaged, or uses an operator in a way that edgeprune does not know \
             (the parser stopped: {})",
            MESSAGE.take()
        ))
    });
    result.map_err(|cause| Error::Model {
        path: path.to_path_buf(),
        cause: printable(&cause),
    })
}

/// Makes the panics of guarded threads silent, once for the process.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                let message = info.payload_as_str().unwrap_or("no reason given");
                MESSAGE.set(message.lines().next().unwrap_or_default().to_string());
            } else {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let error =
            guard::<()>(Path::new("net.onnx"), || panic!("index out of bounds")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("net.onnx") && text.contains("index out of bounds"),
            "{text}"
        );
    }
}
