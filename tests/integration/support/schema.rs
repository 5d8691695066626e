//! Documents as the API's types read them: what is lost on the way is not known to Kubernetes.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A document as a type has it.
pub(crate) fn reread<T: DeserializeOwned + Serialize>(
    document: &Value,
) -> Result<Value, serde_json::Error> {
    serde_json::to_value(T::deserialize(document)?)
}

/// Whether all that is written is also in what was read.
pub(crate) fn is_within(written: &Value, read: &Value) -> bool {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written
            .iter()
            .all(|(key, value)| read.get(key).is_some_and(|read| is_within(value, read))),
        (Value::Array(written), Value::Array(read)) => {
            written.len() == read.len()
                && written.iter().zip(read).all(|(written, read)| is_within(written, read))
        }
        (written, read) => written == read,
    }
}
