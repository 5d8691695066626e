use super::*;
use crate::core::oddity::Oddity;

fn vector(body: &str) -> Vector {
    match query(body.as_bytes()).unwrap() {
        Answer::Vector(vector) => vector,
        other => panic!("a vector, not {other:?}"),
    }
}

#[test]
fn vectors_keep_labels_times_and_values() {
    let vector = vector(
        r#"{"status":"success","data":{"resultType":"vector","result":[
          {"metric":{"pod":"a","q":"x\"y\u00e9"},"value":[1763651878.9125,"1.5"]},
          {"metric":{"pod":"b"},"value":[1763651878,"NaN"]},
          {"metric":{},"value":[1,"+Inf"]}]}}"#,
    );
    let samples: Vec<_> = vector.samples.iter().collect();
    assert_eq!(samples[0].label("q"), Some("x\"yé"));
    let times: Vec<_> = samples.iter().map(|sample| sample.at_ms).collect();
    assert_eq!(times, [1_763_651_878_913, 1_763_651_878_000, 1_000]);
    assert!(samples[1].value.is_nan());
    assert_eq!(samples[1].labels.iter().collect::<Vec<_>>(), [("pod", "b")]);
    assert_eq!(samples[2].value.to_string(), "inf");
    assert_eq!(samples[2].labels.iter().count(), 0);
}

#[test]
fn a_result_of_null_is_an_empty_one() {
    let body =
        |kind| format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":null}}}}"#);
    assert_eq!(vector(&body("vector")).samples.len(), 0);
    assert_eq!(matrix(body("matrix").as_bytes()).unwrap().len(), 0);
    assert!(query(body("scalar").as_bytes()).is_err());
}

/// An answer with so many series, each with a label name of its own.
fn with_names(count: usize) -> String {
    let row = |n| format!(r#"{{"metric":{{"pod":"a","n{n}":"1"}},"value":[1,"1"]}}"#);
    let rows: Vec<_> = (0..count).map(row).collect();
    let rows = rows.join(",");
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{rows}]}}}}"#)
}

#[test]
fn an_answer_has_only_so_many_label_names() {
    let vector = vector(&with_names(MAX_NAMES - 1));
    assert_eq!(vector.samples.len(), MAX_NAMES - 1);
    let last = vector.samples.get(MAX_NAMES - 2).unwrap();
    assert_eq!(last.label(&format!("n{}", MAX_NAMES - 2)), Some("1"));

    let error = query(with_names(MAX_NAMES).as_bytes()).unwrap_err();
    assert!(matches!(error, DecodeError::TooManyNames), "{error}");
}

#[test]
fn what_relatives_of_prometheus_say_survives() {
    let vector = vector(
        r#"{"isPartial":true,"status":"success","data":{"result":[
          {"metric":{"pod":"h"},"histogram":[1,{"count":"3","sum":"4","buckets":[[0,"1","2","3"]]}]},
          {"metric":{"pod":"a"},"value":[1,"1"]}],"resultType":"vector","stats":{}},
          "warnings":["slow"],"infos":["x"]}"#,
    );
    assert_eq!(vector.samples.len(), 1);
    let unusable = vector.unusable.iter().map(|(labels, oddity)| (labels.sorted(), oddity));
    let wanted = [(vec![("pod", "h")], Oddity::NativeHistogram)];
    assert_eq!(unusable.collect::<Vec<_>>(), wanted);
    assert_eq!(vector.samples.first().unwrap().label("pod"), Some("a"));
    assert_eq!(vector.warnings, ["slow", "the answer is partial"]);
}

#[test]
fn samples_out_of_time_are_told_from_others() {
    for (at, wanted) in [
        ("0", Some(0)),
        ("253402300799", Some(253_402_300_799_000)),
        ("253402300800", None),
        ("-0.001", None),
        ("9223372036854775", None),
        ("1e300", None),
        ("-1e300", None),
    ] {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[
              {{"metric":{{"pod":"a"}},"value":[{at},"1"]}},{{"metric":{{"pod":"b"}},"value":[1,"2"]}}]}}}}"#
        );
        let vector = vector(&body);
        let (samples, unusable) = (&vector.samples, &vector.unusable);
        assert_eq!(samples.get(samples.len() - 1).unwrap().label("pod"), Some("b"), "{at}");
        match wanted {
            Some(at_ms) => assert_eq!(samples.first().unwrap().at_ms, at_ms, "{at}"),
            None => assert!(unusable.iter().all(|(_, why)| why == Oddity::OutOfTime), "{at}"),
        }
        assert_eq!((samples.len(), unusable.len()), if wanted.is_some() { (2, 0) } else { (1, 1) });
        let scalar = format!(
            r#"{{"status":"success","data":{{"resultType":"scalar","result":[{at},"1"]}}}}"#
        );
        assert_eq!(query(scalar.as_bytes()).is_ok(), wanted.is_some(), "{at}");
    }
}

#[test]
fn partial_answers_are_told_from_whole_ones() {
    let said = |more: &str| {
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[]}}{more}}}"#);
        vector(&body).is_partial
    };
    assert!(!said(""));
    assert!(!said(
        r#","warnings":["PromQL warning: mixed histograms"],"infos":["PromQL info: x"]"#
    ));
    assert!(said(r#","warnings":["No StoreAPIs matched for this query"]"#));
    assert!(said(r#","isPartial":true"#));
}

#[test]
fn answers_without_native_histograms_are_told() {
    let info = r#","infos":["PromQL info: ignored histogram in max aggregation"]"#;
    let mix = r#","warnings":["PromQL warning: encountered a mix of histograms and floats for aggregation"]"#;
    let ranges = r#","infos":["PromQL info: ignored histograms in a range containing both floats and histograms"]"#;
    let sides = r#","infos":["PromQL info: incompatible sample types encountered for binary operator \"+\": histogram + float"]"#;
    let buckets = r#","warnings":["PromQL warning: vector contains histograms with incompatible custom buckets for metric name \"x\""]"#;
    let other = r#","infos":["PromQL info: metric might not be a counter"]"#;
    let fixed = r#","infos":["PromQL info: input to histogram_quantile needed to be fixed for monotonicity"]"#;
    let store = r#","warnings":["a store of histograms is away"]"#;
    let sample = r#"{"metric":{},"value":[1,"1"]}"#;
    let left_out = Some(Oddity::HistogramsLeftOut);
    for (said, rows, wanted) in [
        (info, "", left_out),
        (mix, "", left_out),
        (ranges, "", left_out),
        (sides, "", left_out),
        (buckets, "", left_out),
        (fixed, "", Some(Oddity::NoSample)),
        (other, "", Some(Oddity::NoSample)),
        (store, "", Some(Oddity::Partial)),
        (info, sample, None),
    ] {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{rows}]}}{said}}}"#
        );
        let vector = vector(&body);
        let odd = vector.oddities();
        assert_eq!(odd.has(Oddity::HistogramsLeftOut), wanted == left_out, "{said}");
        if let Some(wanted) = wanted {
            assert_eq!(odd.why_nothing(), wanted, "{said}");
        }
    }
}

#[test]
fn partial_metadata_is_told_from_whole() {
    let said = |more: &str| {
        let body = format!(r#"{{"status":"success","data":[]{more}}}"#);
        let names = strings(body.as_bytes()).unwrap();
        let series = series(body.as_bytes(), |_| true).unwrap();
        assert_eq!(names.is_partial, series.is_partial, "{more}");
        names.is_partial
    };
    assert!(!said(""));
    assert!(!said(r#","infos":["x"],"isPartial":false"#));
    assert!(said(r#","warnings":["fetch label values: a store is away"]"#));
    assert!(said(r#","isPartial":true"#));
}

#[test]
fn scalars_and_other_types_are_told_apart() {
    let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"2"]}}"#;
    assert_eq!(query(scalar).unwrap(), Answer::Scalar(1500, 2.0));
    let text = br#"{"status":"success","data":{"resultType":"string","result":[1,"a"]}}"#;
    assert_eq!(query(text).unwrap(), Answer::Other("string"));
}

#[test]
fn errors_of_any_type_keep_their_words() {
    let body = br#"{"status":"error","errorType":"too_many_requests","error":"slow down"}"#;
    let (kind, message) = error(body).unwrap();
    assert_eq!((kind.as_str(), message.to_string().as_str()), ("too_many_requests", "slow down"));
    let body = br#"{"status":"error","errorType":"422","error":"no"}"#;
    assert_eq!(query(body).unwrap_err().to_string(), "422: no");
    assert!(error(b"<html>").is_none());
    assert!(query(b"<html>").is_err());
    assert!(query(br#"{"status":"success"}"#).is_err());
}

#[test]
fn of_series_only_names_by_label_are_kept() {
    let body = br#"{"status":"success","data":[
        {"__name__":"a","pod":"x","namespace":"n"},{"__name__":"a","pod":"y","job":"j"},
        {"__name__":"b","namespace":"n","pod":""},{"pod":"z"}]}"#;
    let found = series(body, |label| label != "job" && label != "__name__").unwrap().data;
    assert_eq!(Vec::from_iter(&found.by_label["pod"]), [&"a".into()]);
    assert_eq!(Vec::from_iter(&found.by_label["namespace"]), [&"a".into(), &"b".into()]);
    assert_eq!(found.by_label.len(), 2);
    assert_eq!(
        series(br#"{"status":"success","data":null}"#, |_| true).unwrap().data,
        Found::default()
    );
    let nothing = strings(br#"{"status":"success","data":null}"#).unwrap();
    assert_eq!(nothing.data, Texts::default());
}
