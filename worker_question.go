package caddysnake

// Questions to a worker whose answers are reports.

import (
	"context"
	"errors"
	"sync"
)

var errAsked = errors.New("somebody else waits for the same of this worker")

// question is the newest question of one kind to a worker.
type question[T any] struct {
	mu     sync.Mutex
	number uint32 // 0: there was none
	answer chan T // capacity 1; nil: nobody waits
}

// ask sends the question with a new number, and waits for its answer, for the end of the
// worker, or for ctx.
func (q *question[T]) ask(ctx context.Context, gone <-chan struct{}, send func(number uint32) error) (found T, err error) {
	answer := make(chan T, 1)
	q.mu.Lock()
	if q.answer != nil {
		q.mu.Unlock()
		return found, errAsked
	}
	q.number++
	q.answer = answer
	number := q.number
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.answer = nil
		q.mu.Unlock()
	}()
	if err := send(number); err != nil {
		return found, err
	}
	select {
	case found = <-answer:
		return found, nil
	case <-gone:
		select {
		case found = <-answer: // of its last words
			return found, nil
		default:
			return found, errWorkerDied
		}
	case <-ctx.Done():
		return found, context.Cause(ctx)
	}
}

// question returns what sends a question that needs nothing but its number.
func (w *workerProcess) question(op string) func(number uint32) error {
	return func(number uint32) error {
		return w.control.send(struct {
			Op       string `json:"op"`
			Question uint32 `json:"question"`
		}{op, number})
	}
}

// take hands an answer to the one who waits. It returns false if there was no such
// question.
func (q *question[T]) take(number uint32, answer T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if number == q.number && q.answer != nil {
		select {
		case q.answer <- answer:
		default: // it has answered twice
		}
	}
	return number > 0 && number <= q.number
}
