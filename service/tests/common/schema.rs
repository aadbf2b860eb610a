//! A checker for the part of JSON Schema that the OpenAPI document uses.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use serde_json::Value;

/// What of `value` does not fit `schema`.
pub fn misfit(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is not there"));
        return misfit(document, target, value);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().filter(|choice| misfit(document, choice, value).is_none()).count();
        return (fits != 1).then(|| format!("{value} fits {fits} of {schema}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&kind) {
        return Some(format!("{value} is no {types:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        return Some(format!("{value} is none of {allowed:?}"));
    }
    match value {
        Value::Array(items) => items.iter().find_map(|item| misfit(document, &schema["items"], item)),
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            if let Some(missing) = required.into_iter().find(|name| !fields.contains_key(*name)) {
                return Some(format!("{missing} is missing in {value}"));
            }
            fields.iter().find_map(|(name, field)| match schema["properties"].get(name) {
                Some(schema) => misfit(document, schema, field).map(|why| format!("{name}: {why}")),
                None if schema["additionalProperties"] == Value::Bool(false) => Some(format!("{name} is not known")),
                None => None,
            })
        }
        _ => None,
    }
}

/// The schema of an operation's answer, if it is JSON.
pub fn answer_schema(document: &Value, method: &str, path: &str, status: u16) -> Option<Value> {
    let mut response = &document["paths"][path][method]["responses"][status.to_string()];
    assert!(!response.is_null(), "{method} {path} {status} is not in the document");
    if let Some(name) = response["$ref"].as_str() {
        response = document.pointer(name.trim_start_matches('#')).expect("responses are there");
    }
    let content = &response["content"];
    let kind = if status >= 400 && status != 503 { "application/problem+json" } else { "application/json" };
    let schema = content.get(kind).or_else(|| content.get("application/problem+json"));
    schema.map(|content| content["schema"].clone())
}

/// The path template that a path is of.
pub fn template(document: &Value, path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == parts.len() && wanted.iter().zip(&parts).all(|(a, b)| a == b || a.starts_with('{'))
    };
    let paths = document["paths"].as_object().expect("paths");
    let exact = paths.keys().find(|known| *known == path);
    exact
        .or_else(|| paths.keys().find(|known| fits(known)))
        .unwrap_or_else(|| panic!("{path} is in no template"))
        .clone()
}
