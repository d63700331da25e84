package caddysnake

// Commands to the bridge: questions and answers, both JSON.

/*
#include "caddysnake.h"
*/
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// command is a command for caddysnake_py/bridge.py.
type command struct {
	Op      string        `json:"op"`
	Load    *loadRequest  `json:"load,omitempty"`
	ID      uint32        `json:"id,omitempty"`
	Profile *profileOrder `json:"profile,omitempty"`
	Drain   float64       `json:"drain"` // seconds
	Tasks   float64       `json:"tasks"` // seconds
}

type loadRequest struct {
	ID uint32 `json:"id"`
	bridgeConfig
}

// answer is the bridge's reply.
type answer struct {
	Error     string  `json:"error"`
	Handle    uintptr `json:"handle"`
	Interface string  `json:"interface"`
	Idle      bool    `json:"idle"`

	Stacks  []stackReport  `json:"stacks"`
	Metrics string         `json:"metrics"` // lines of caddysnake_py/app_metrics.py
	Profile *profileReport `json:"profile"`
}

var (
	errBridgeLost    = errors.New("the Python bridge did not answer")
	errCommandMemory = errors.New("out of memory for a command to the Python bridge")
)

// asked holds the commands without an answer, and where each answer goes. Commands
// have numbers of their own.
var asked = struct {
	mu      sync.Mutex
	last    uint32
	waiting map[uint32]chan reply
}{waiting: map[uint32]chan reply{}}

type reply struct {
	answer answer
	err    error
}

// ask sends a command and waits for its answer or for ctx. A late answer goes to
// late, if given.
func ask(ctx context.Context, cmd command, late ...func(answer, error)) (answer, error) {
	question, err := json.Marshal(cmd)
	if err != nil {
		return answer{}, err
	}
	replies := make(chan reply, 1)
	id := expect(replies)
	if C.snake_command(C.uint32_t(id), (*C.char)(unsafe.Pointer(&question[0])), C.size_t(len(question))) != 0 {
		expected(id)
		return answer{}, errCommandMemory
	}
	select {
	case reply := <-replies:
		return reply.answer, reply.err
	case <-ctx.Done():
		go func() {
			reply := <-replies
			for _, f := range late {
				f(reply.answer, reply.err)
			}
		}()
		return answer{}, context.Cause(ctx)
	}
}

// expect returns a new command's id.
func expect(replies chan reply) uint32 {
	asked.mu.Lock()
	defer asked.mu.Unlock()
	asked.last++
	asked.waiting[asked.last] = replies
	return asked.last
}

// expected returns where a command's answer goes, once; then nil.
func expected(id uint32) chan reply {
	asked.mu.Lock()
	defer asked.mu.Unlock()
	replies := asked.waiting[id]
	delete(asked.waiting, id)
	return replies
}

// takeAnswer passes an answer on.
func takeAnswer(message *C.snake_message) {
	replies := expected(uint32(message.id))
	if replies == nil {
		caddy.Log().Named(loggerName).Error("answer to an unknown command", zap.Uint32("id", uint32(message.id)))
		return
	}
	var r reply
	if message.level != 0 {
		r.err = errBridgeLost
	} else {
		r.answer, r.err = parseAnswer(data(message))
	}
	replies <- r
}

func parseAnswer(data []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(data, &a); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errBridgeLost, err)
	}
	if a.Error != "" {
		return answer{}, errors.New(a.Error)
	}
	return a, nil
}
