//! A part that ends before it is told to ends the process, so that the service manager restarts it: a gateway that lacks one
//! answers 911 for ever, or lets a disabled account in, while it looks alive. Knows no part.

use std::panic;

use tracing::error;

/// From here on a panic anywhere in the process ends it with its reason (SIGABRT).
pub fn end_on_panic() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        print(panicked);
        error!(%panicked, "a part of the gateway panicked: the process ends; please report this line");
        std::process::abort();
    }));
}
