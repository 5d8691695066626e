use super::*;

fn string(text: &str) -> Value {
    Value::String(text.into())
}

#[test]
fn nothing_is_written_once_the_text_is_too_long() {
    let long: Vec<_> = vec![string(&"x".repeat(MAX_LENGTH / 2)); 100];
    assert!(sprintf(&"%s".repeat(100), &long).unwrap().len() <= 2 * MAX_LENGTH);
    assert!(sprint(&long).unwrap().len() <= 2 * MAX_LENGTH);
    assert!(sprintln(&long).unwrap().len() <= 2 * MAX_LENGTH);
}

#[test]
fn verbs_and_flags() {
    let list = Value::List([string("a"), string("b c")].into());
    for (format, value, text) in [
        ("%v", Value::Nil, "<nil>"),
        ("%5v|", Value::Bool(true), " true|"),
        ("%s%%", string("x"), "x%"),
        ("%-6sx", string("é"), "é     x"),
        ("%06s", string("ab"), "0000ab"),
        ("%.1s", string("éa"), "é"),
        ("%10.3s|", string("abcdef"), "       abc|"),
        ("%.2q", string("éa\n"), "\"éa\""),
        ("%q", string("a\"\u{a0}"), r#""a\"\u00a0""#),
        ("%q", list.clone(), r#"["a" "b c"]"#),
        ("%3s|", list, "[  a b c]|"),
        ("%05d", Value::Int(-42), "-0042"),
        ("%-5d|", Value::Int(-42), "-42  |"),
        ("%-05d|", Value::Int(42), "42   |"),
        ("%.3d", Value::Int(7), "007"),
        ("%05.3d", Value::Int(7), "  007"),
        ("%.0d|", Value::Int(0), "|"),
        ("%.d|", Value::Int(0), "|"),
        ("%.0d", Value::Int(5), "5"),
        ("%v", Value::Float(1e6), "1e+06"),
        ("%v", Value::Float(100_000.0), "100000"),
        ("%v", Value::Float(0.00001), "1e-05"),
        ("%v", Value::Float(1e100), "1e+100"),
        ("%g", Value::Float(0.25), "0.25"),
        ("%g", Value::Float(-0.0), "-0"),
        ("%.3g", Value::Float(1234.5), "1.23e+03"),
        ("%.3g", Value::Float(100.0), "100"),
        ("%.0g", Value::Float(0.15), "0.1"),
        ("%f", Value::Float(1.5), "1.500000"),
        ("%.2f", Value::Float(2.0), "2.00"),
        ("%08.3f", Value::Float(-1.5), "-001.500"),
        ("%6.1f|", Value::Float(2.25), "   2.2|"),
        ("%v", Value::Float(f64::INFINITY), "+Inf"),
        ("%07.1f", Value::Float(f64::NEG_INFINITY), "   -Inf"),
        ("%g", Value::Float(f64::NAN), "NaN"),
    ] {
        assert_eq!(sprintf(format, &[value]).unwrap(), text, "{format}");
    }
}

#[test]
fn other_directives_are_refused() {
    for (format, shown) in [
        ("%x", "%x"),
        ("a %t b", "%t"),
        ("%#q%s", "%#q"),
        ("%+v", "%+v"),
        ("% d", "% d"),
        ("%[2]s", "%[2]s"),
        ("%*d", "%*d"),
        ("%5.*f", "%5.*f"),
        ("%é", "%é"),
        ("%5%", "%5%"),
        ("100%", "%"),
        ("%1001d", "%1001d"),
        ("%.99999999999999999999f", "%.99999999999999999999f"),
    ] {
        let reason = sprintf(format, &[Value::Int(1)]).unwrap_err();
        assert!(reason.starts_with(&format!("printf: `{shown}` is not supported")), "{reason}");
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let two = [Value::Int(1), string("x")];
    for (format, reason) in [
        ("%s%d", "printf: %s cannot print an integer"),
        ("%d%f", "printf: %f cannot print a string"),
        ("%d", "printf: verbs in the format: 1, operands: 2"),
        ("%d%s%v", "printf: verbs in the format: 3, operands: 2"),
    ] {
        assert_eq!(sprintf(format, &two).unwrap_err(), reason, "{format}");
    }
    assert_eq!(sprintf("%d%s", &two).unwrap(), "1x");
    let list = Value::List([string("a")].into());
    for (verb, value) in [("%s", Value::Nil), ("%q", Value::Bool(true)), ("%d", list)] {
        assert!(sprintf(verb, &[value]).is_err(), "{verb}");
    }
}

#[test]
fn spaces_between_operands() {
    let mixed = [string("a"), Value::Int(1), Value::Int(2), string("b"), Value::Bool(true)];
    assert_eq!(sprint(&mixed).unwrap(), "a1 2btrue");
    assert_eq!(sprintln(&mixed).unwrap(), "a 1 2 b true\n");
}
