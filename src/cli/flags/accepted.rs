//! The flags of prometheus-adapter that are accepted and have no effect.

use clap::Args;

/// Defines flags of prometheus-adapter that are taken and have no effect.
macro_rules! accepted {
    ($($name:ident),* $(,)?) => {
        /// Flags of prometheus-adapter that are taken and have no effect.
        #[derive(Args, Debug)]
        pub(in crate::cli) struct AcceptedFlags {
            $(
                #[arg(long, hide = true, num_args = 0..=1, require_equals = false, default_missing_value = "")]
                $name: Vec<String>,
            )*
        }

        impl AcceptedFlags {
            /// The flags that were given, as they are written.
            pub(in crate::cli) fn given(&self) -> Vec<String> {
                let mut given = Vec::new();
                $(
                    if !self.$name.is_empty() {
                        given.push(format!("--{}", stringify!($name).replace('_', "-")));
                    }
                )*
                given
            }
        }
    };
}

accepted! {
    add_dir_header,
    alsologtostderr,
    audit_log_batch_buffer_size,
    audit_log_batch_max_size,
    audit_log_batch_max_wait,
    audit_log_batch_throttle_burst,
    audit_log_batch_throttle_enable,
    audit_log_batch_throttle_qps,
    audit_log_compress,
    audit_log_format,
    audit_log_maxage,
    audit_log_maxbackup,
    audit_log_maxsize,
    audit_log_mode,
    audit_log_path,
    audit_log_truncate_enabled,
    audit_log_truncate_max_batch_size,
    audit_log_truncate_max_event_size,
    audit_log_version,
    audit_policy_file,
    audit_webhook_batch_buffer_size,
    audit_webhook_batch_initial_backoff,
    audit_webhook_batch_max_size,
    audit_webhook_batch_max_wait,
    audit_webhook_batch_throttle_burst,
    audit_webhook_batch_throttle_enable,
    audit_webhook_batch_throttle_qps,
    audit_webhook_config_file,
    audit_webhook_initial_backoff,
    audit_webhook_mode,
    audit_webhook_truncate_enabled,
    audit_webhook_truncate_max_batch_size,
    audit_webhook_truncate_max_event_size,
    audit_webhook_version,
    client_burst,
    client_qps,
    contention_profiling,
    debug_socket_path,
    discovery_interval,
    enable_priority_and_fairness,
    http2_max_streams_per_connection,
    log_backtrace_at,
    log_dir,
    log_file,
    log_file_max_size,
    log_flush_frequency,
    logtostderr,
    one_output,
    permit_address_sharing,
    permit_port_sharing,
    profiling,
    skip_headers,
    skip_log_headers,
    stderrthreshold,
    tls_curve_preferences,
    vmodule,
}
