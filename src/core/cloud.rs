//! The credentials of managed services, as far as no I/O is needed for them: signatures, the replies of token endpoints, AWS's shared
//! files, and the decision when a credential is renewed.

pub mod aws_partition;
pub mod aws_profile;
pub mod renewal;
pub mod replies;
pub mod sigv4;
