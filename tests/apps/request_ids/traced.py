"""Flask whose requests are spans of OpenTelemetry, which stay in memory."""

from flask import Flask, jsonify, request
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("traced")
app = Flask(__name__)


@app.get("/work")
def work():
    with tracer.start_as_current_span("work", context=propagate.extract(request.headers)):
        app.logger.warning("planted: at work")
    return "done"


@app.get("/spans")
def spans():
    return jsonify(
        [
            {
                "name": span.name,
                "trace": format(span.context.trace_id, "032x"),
                "parent": format(span.parent.span_id, "016x") if span.parent else None,
            }
            for span in exporter.get_finished_spans()
        ]
    )
