#!/usr/bin/env python3
"""What the pods of objects.yaml, cAdvisor and kube-state-metrics would expose, on http://127.0.0.1:9464/metrics.

lsp-server-0 answers 40 requests a second and lsp-server-1 answers 65; ai-inference-0 uses 3 of its 4 GiB.
"""

import http.server
import time

STARTED = time.monotonic()
GIB = 1 << 30


def metrics() -> str:
    age = time.monotonic() - STARTED
    inference = 'namespace="ide",pod="ai-inference-0",container="inference"'
    return "\n".join([
        "# TYPE lsp_requests_total counter",
        f'lsp_requests_total{{namespace="ide",pod="lsp-server-0"}} {40 * age:.0f}',
        f'lsp_requests_total{{namespace="ide",pod="lsp-server-1"}} {65 * age:.0f}',
        "# TYPE container_memory_working_set_bytes gauge",
        f"container_memory_working_set_bytes{{{inference}}} {3 * GIB}",
        "# TYPE kube_pod_container_resource_limits gauge",
        f'kube_pod_container_resource_limits{{{inference},resource="memory",unit="byte"}} {4 * GIB}',
        "",
    ])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = metrics().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", 9464), Handler).serve_forever()
