//! loadline against what stands around it.

#[cfg(test)]
mod manifests;
