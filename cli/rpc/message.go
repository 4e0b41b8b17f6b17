package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/kith-im/kith/node/api"
)

// call is one request of a program.
type call struct {
	id           json.RawMessage // as it came; nil means null
	notification bool            // has no id: is not answered
	method       string
	params       json.RawMessage // an object, or nothing

	problem []byte // the answer of what is no request
}

// parse takes a line apart. A line that holds no request at all has a single answer.
func parse(line []byte) (calls []call, batch bool, problem []byte) {
	if !json.Valid(line) {
		return nil, false, failure(nil, parseError, "that is no JSON")
	}
	if line[0] != '[' {
		return []call{request(line)}, false, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(line, &list); err != nil || len(list) == 0 {
		return nil, false, failure(nil, invalidRequest, "a batch holds at least one request")
	}
	if len(list) > MaxBatch {
		return nil, false, failure(nil, invalidRequest, fmt.Sprintf("a batch holds at most %d requests; this one has %d", MaxBatch, len(list)))
	}
	for _, raw := range list {
		calls = append(calls, request(raw))
	}
	return calls, true, nil
}

// request reads one request. Names of members are exact: a map, since Go's structs take "ID" for "id".
func request(raw []byte) call {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return invalid(nil, "a request is an object")
	}
	c := call{notification: true}
	if id, ok := members["id"]; ok {
		if !isID(id) {
			return invalid(nil, "an id is a text, a number or null")
		}
		c.id, c.notification = id, false
	}
	if text(members["jsonrpc"]) != "2.0" {
		return invalid(c.id, `"jsonrpc" is "2.0"`)
	}
	if c.method = text(members["method"]); c.method == "" {
		return invalid(c.id, "the method is missing")
	}
	if p := bytes.TrimSpace(members["params"]); len(p) > 0 {
		if p[0] != '{' {
			c.problem = failure(c.id, invalidParams, "params is an object: the methods name their fields")
		}
		c.params = p
	}
	return c
}

// invalid is what is no request; it is answered even without an id.
func invalid(id json.RawMessage, why string) call {
	return call{id: id, problem: failure(id, invalidRequest, why)}
}

// maxID is the size of an id in bytes; it is said back.
const maxID = 1024

func isID(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) > maxID:
		return false
	case raw[0] == '"', raw[0] == '-', raw[0] >= '0' && raw[0] <= '9':
		return true
	}
	return string(raw) == "null"
}

// text is a JSON text, or "".
func text(raw json.RawMessage) (s string) {
	if raw == nil || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *problem        `json:"error,omitempty"`
}

// problem is an error as the specification has it; data is the node's own.
type problem struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// notice is a notification to the program.
type notice struct {
	Version string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

func success(id, result json.RawMessage) []byte {
	return encode(response{Version: "2.0", ID: id, Result: result})
}

func failure(id json.RawMessage, code int, message string) []byte {
	return encode(response{Version: "2.0", ID: id, Error: &problem{Code: code, Message: message}})
}

// refusal is an error of the node, or of the way to it.
func refusal(id json.RawMessage, err error) []byte {
	return encode(response{Version: "2.0", ID: id, Error: problemOf(err)})
}

func problemOf(err error) *problem {
	e := api.ErrorOf(err)
	p := &problem{Code: nodeError, Message: e.Message}
	switch {
	case e.Exit == api.ExitUsage:
		p.Code = invalidParams
	case e.Exit < 100: // the specification leaves a hundred codes to servers
		p.Code -= e.Exit
	}
	p.Data, _ = api.Object("error", e)
	return p
}

// encode writes what is ours; it can be encoded.
func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		raw = fmt.Appendf(nil, `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":"the answer is no JSON"}}`, nodeError-api.ExitFailed)
	}
	return raw
}
