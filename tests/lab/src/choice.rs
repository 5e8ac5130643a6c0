//! Names on a command line, each of one of so many things.

use std::fmt::Display;

/// Those of `known` that `names` lists, parted by commas.
///
/// # Errors
/// The first name that none of them has, and those that they have.
pub fn chosen<T: Copy + Display>(known: &[T], names: &str) -> Result<Vec<T>, String> {
    let find = |name: &str| {
        let found = known.iter().find(|one| one.to_string() == name).copied();
        found.ok_or_else(|| {
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            format!("no row {name:?}; known: {}", known.join(", "))
        })
    };
    names.split(',').map(find).collect()
}
