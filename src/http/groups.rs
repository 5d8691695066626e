//! The handlers of `/apis` and of the groups below it.

use axum::{
    Json,
    http::header,
    response::{IntoResponse as _, Response},
};

use super::{Api, accept::Accept, error::ApiError};
use crate::wire::discovery::{self, Group};

/// All groups that there are rules for, in the aggregated form if that is asked for.
pub(super) fn all(api: &Api, accept: Accept) -> Response {
    let groups = api.rules.served();
    match accept.aggregated {
        Some(form) => {
            let body = discovery::aggregated(&groups, form).to_string();
            ([(header::CONTENT_TYPE, form.media_type())], body).into_response()
        }
        None => Json(discovery::group_list(&groups)).into_response(),
    }
}

/// A group, if there are rules for it.
pub(super) fn one(api: &Api, group: Group) -> Result<Response, ApiError> {
    if !api.rules.served().contains(&group) {
        return Err(ApiError::not_found());
    }
    Ok(Json(discovery::group(group)).into_response())
}
