use super::*;

fn string(text: &str) -> Value {
    Value::String(text.into())
}

#[test]
fn nothing_is_written_once_the_text_is_too_long() {
    let wide = [Value::Int(1)];
    let most = MAX_LENGTH + MAX_WIDTH + 1;
    assert!(sprintf(&"%1000000[1]d".repeat(100), &wide).len() <= most);
    let long: Vec<_> = vec![Value::String("x".repeat(MAX_LENGTH / 2).into()); 100];
    assert!(sprint(&long).len() <= 2 * MAX_LENGTH);
    assert!(sprintln(&long).len() <= 2 * MAX_LENGTH);
}

#[test]
fn verbs_and_flags() {
    let list = Value::List([string("a"), string("b c")].into());
    for (format, value, text) in [
        ("%v", Value::Nil, "<nil>"),
        ("%s", Value::Nil, "%!s(<nil>)"),
        ("%5t|", Value::Bool(true), " true|"),
        ("%d", Value::Bool(true), "%!d(bool=true)"),
        ("%-6sx", string("é"), "é     x"),
        ("%06s", string("ab"), "0000ab"),
        ("%.1s", string("éa"), "é"),
        ("%.2q", string("éa\n"), "\"éa\""),
        ("%q", string("a\"\u{a0}"), r#""a\"\u00a0""#),
        ("%#q", string("a"), "`a`"),
        ("%+q", string("é"), r#""\u00e9""#),
        ("% x", string("ab"), "61 62"),
        ("%#X", string("az"), "0X617A"),
        ("%d", string("x"), "%!d(string=x)"),
        ("%T", string("x"), "string"),
        ("%q", list.clone(), r#"["a" "b c"]"#),
        ("%3s|", list.clone(), "[  a b c]|"),
        ("%d", list.clone(), "[%!d(string=a) %!d(string=b c)]"),
        ("%#v", list, r#"[]string{"a", "b c"}"#),
        ("%+05d", Value::Int(42), "+0042"),
        ("%-5d|", Value::Int(-42), "-42  |"),
        ("%.3d", Value::Int(7), "007"),
        ("%.0d|", Value::Int(0), "|"),
        ("%#x", Value::Int(255), "0xff"),
        ("%#o", Value::Int(8), "010"),
        ("%c%%", Value::Int(233), "é%"),
        ("%q", Value::Int(39), r"'\''"),
        ("%#U", Value::Int(65), "U+0041 'A'"),
        ("%U", Value::Int(-1), "U+FFFFFFFFFFFFFFFF"),
        ("%s", Value::Int(5), "%!s(int=5)"),
        ("%d", Value::Float(5.0), "%!d(float64=5)"),
        ("%v", Value::Float(1e6), "1e+06"),
        ("%v", Value::Float(100_000.0), "100000"),
        ("%v", Value::Float(0.00001), "1e-05"),
        ("%g", Value::Float(0.25), "0.25"),
        ("%.3g", Value::Float(1234.5), "1.23e+03"),
        ("%.3g", Value::Float(100.0), "100"),
        ("%.2f", Value::Float(2.0), "2.00"),
        ("%08.3f", Value::Float(-1.5), "-001.500"),
        ("%+.1e", Value::Float(1250.0), "+1.2e+03"),
        ("%v", Value::Float(f64::INFINITY), "+Inf"),
        ("%!", string("x"), "%!!(string=x)"),
        ("%z", string("x"), "%!z(string=x)"),
    ] {
        assert_eq!(sprintf(format, &[value]), text, "{format}");
    }
}

#[test]
fn operands() {
    let two = [Value::Int(1), string("x")];
    for (format, text) in [
        ("%[2]s%[1]d", "x1"),
        ("%[2]*d", "%!(BADWIDTH)%!d(MISSING)"),
        ("%*s", "x"),
        ("%d", "1%!(EXTRA string=x)"),
        ("%d %s %d", "1 x %!d(MISSING)"),
        ("%[3]d", "%!d(BADINDEX)"),
        ("%[x]d", "%!d(BADINDEX)"),
        ("%d%s%", "1x%!(NOVERB)"),
        ("", "%!(EXTRA int=1, string=x)"),
    ] {
        assert_eq!(sprintf(format, &two), text, "{format}");
    }
}

#[test]
fn spaces_between_operands() {
    let mixed = [string("a"), Value::Int(1), Value::Int(2), string("b"), Value::Bool(true)];
    assert_eq!(sprint(&mixed), "a1 2btrue");
    assert_eq!(sprintln(&mixed), "a 1 2 b true\n");
}
