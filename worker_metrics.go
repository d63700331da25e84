package caddysnake

// The metrics of a worker's application come in a file in memory: they may be longer than
// a message.

import "context"

// metricsReport answers the question for metrics, with the file beside it.
type metricsReport struct {
	Question uint32 `json:"question"`
	text     []byte // of the file
}

func (*metricsReport) check() error { return nil }

// askMetrics asks the worker, and waits until it has answered or ended.
func (w *workerProcess) askMetrics() ([]byte, error) {
	return w.metrics.ask(context.Background(), w.gone, w.question("metrics"))
}

// Interface guard
var _ workerReport = (*metricsReport)(nil)
