//! The answers of range queries, read as they come: a point is kept as two numbers, and a label as in vectors.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};

use super::{Data, DecodeError, Envelope, Point, Rows, Said};
use crate::core::samples::{Matrix, Points};

/// `/api/v1/query_range`.
pub fn matrix(body: &[u8]) -> Result<Matrix, DecodeError> {
    let (data, Said { warnings, is_partial, .. }) = Envelope::open(body)?;
    let data: Data<'_> = serde_json::from_str(data)?;
    if data.result_type != "matrix" {
        return Err(DecodeError::Json("a range query whose result is no matrix".to_owned()));
    }
    let rows = Rows { points: Some(Points::default()), ..Rows::default() };
    let Rows { all, points, .. } = rows.read(data.result)?;
    Ok(Matrix::new(all.complete(warnings, is_partial), points.unwrap_or_default()))
}

/// The points of a series. Those whose time no clock has are left out.
pub(super) struct Values<'r>(pub(super) &'r mut Points);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("times and values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while let Some(Point(at_ms, value)) = all.next_element()? {
            if let Some(at_ms) = at_ms {
                self.0.push(at_ms, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::samples::MAX_NAMES;

    fn body(result: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}"#)
    }

    #[test]
    fn a_matrix_is_a_vector_for_each_time() {
        let body = body(
            r#"{"metric":{"pod":"a"},"values":[[10,"1"],[25,"NaN"],[1e300,"3"]]},
               {"metric":{"pod":"h"},"histograms":[[10,{"count":"1"}]]},
               {"values":[[25,"2"],[40,"4"]],"metric":{"pod":"b","q":"\"x\""}}"#,
        );
        let matrix = matrix(body.as_bytes()).unwrap();
        assert_eq!((matrix.len(), matrix.histograms), (2, 1));
        let shown: Vec<_> = matrix
            .vectors([10_000, 25_000, 40_000, 55_000])
            .map(|vector| {
                let sample = |it: crate::core::samples::Sample<'_>| {
                    format!("{}={}@{}", it.label("pod").unwrap(), it.value, it.at_ms)
                };
                vector.samples.iter().map(sample).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(
            shown,
            [vec!["a=1@10000"], vec!["a=NaN@25000", "b=2@25000"], vec!["b=4@40000"], vec![]]
        );
    }

    #[test]
    fn what_is_no_matrix_is_an_error() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert!(matches!(matrix(vector.as_bytes()), Err(DecodeError::Json(_))));
        for row in [r#"{"metric":{},"values":[[1]]}"#, r#"{"metric":{},"values":{}}"#, "7"] {
            assert!(matches!(matrix(body(row).as_bytes()), Err(DecodeError::Json(_))), "{row}");
        }
        let row = |n| format!(r#"{{"metric":{{"n{n}":"1"}},"values":[[1,"1"]]}}"#);
        let rows: Vec<_> = (0..=MAX_NAMES).map(row).collect();
        let many = matrix(body(&rows.join(",")).as_bytes());
        assert!(matches!(many, Err(DecodeError::TooManyNames)), "{many:?}");
    }
}
