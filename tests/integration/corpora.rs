//! The inputs that fuzzing has found, on the toolchain that is released with.

#[expect(unreachable_pub, reason = "it is the library of the crate that fuzzes")]
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::{fs, path::Path};

/// Runs a target on every input of its corpus.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut count = 0;
    for input in fs::read_dir(&folder).unwrap() {
        target(&fs::read(input.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 10, "{} has {count} inputs", folder.display());
}

macro_rules! replayed {
    ($($name:ident)+) => {$(
        #[test]
        fn $name() {
            replay(stringify!($name), targets::$name);
        }
    )+};
}

replayed!(
    answer delegate enforce explanation front_proxy kubeconfig manifests migrate path plan rules selector template words
);
