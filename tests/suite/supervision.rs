//! A part that panics ends the process, and its reason can be read.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

const IS_CHILD: &str = "DYNGATE_TEST_PANIC";

/// What the other test runs as a process of its own; nothing happens otherwise.
#[test]
fn a_process_with_a_task_that_panics() {
    if std::env::var_os(IS_CHILD).is_none() {
        return;
    }
    dyngate::app::end_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _nobody_waits_for_it = tokio::spawn(async { panic!("the reason of the test") });
        std::future::pending::<()>().await;
    });
}

#[test]
fn a_panic_of_a_task_that_nobody_waits_for_ends_the_process_with_its_reason() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervision::a_process_with_a_task_that_panics", "--nocapture"])
        .env(IS_CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    const SIGABRT: i32 = 6;
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    assert!(String::from_utf8_lossy(&child.stderr).contains("the reason of the test"), "{child:?}");
}
