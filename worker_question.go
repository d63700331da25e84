package caddysnake

// Questions to a worker that one message answers.

import (
	"context"
	"errors"
	"sync"
)

// workerQuestion is the newest question of one kind.
type workerQuestion[T any] struct {
	mu     sync.Mutex
	number uint32 // 0: there was none
	answer chan T // capacity 1; nil: nobody waits
}

var errAsked = errors.New("another request waits for the same answer of this worker")

// ask sends the question and waits for its answer.
func (q *workerQuestion[T]) ask(ctx context.Context, w *workerProcess, op string) (T, error) {
	var none T
	answer := make(chan T, 1)
	q.mu.Lock()
	if q.answer != nil {
		q.mu.Unlock()
		return none, errAsked
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
	if err := w.control.send(struct {
		Op       string `json:"op"`
		Question uint32 `json:"question"`
	}{op, number}); err != nil {
		return none, err
	}
	select {
	case found := <-answer:
		return found, nil
	case <-w.gone:
		return none, errWorkerDied
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// take hands an answer to the one who waits. It returns false if there was no such
// question.
func (q *workerQuestion[T]) take(number uint32, answer T) bool {
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
