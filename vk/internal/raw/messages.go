package raw

// #include "raw.h"
import "C"

import (
	"sync"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"
)

// Messages collects what the validation layer says about one instance. It is safe for concurrent use.
type Messages struct {
	id        uintptr
	messenger C.uint64_t

	mu   sync.Mutex
	text []string
}

// listeners finds the Messages of a callback: C gets a number, not a Go pointer.
var listeners struct {
	sync.Mutex
	next uintptr
	byID map[uintptr]*Messages
}

// NewMessages registers a collector; Close removes it.
func NewMessages() *Messages {
	listeners.Lock()
	defer listeners.Unlock()
	listeners.next++
	m := &Messages{id: listeners.next}
	if listeners.byID == nil {
		listeners.byID = map[uintptr]*Messages{}
	}
	listeners.byID[m.id] = m
	return m
}

// Close removes the collector; no message arrives any more.
func (m *Messages) Close() {
	listeners.Lock()
	defer listeners.Unlock()
	delete(listeners.byID, m.id)
}

// Listen creates the debug messenger of an instance.
func (m *Messages) Listen(instance vk.Instance) vk.Result {
	return vk.Result(C.vx_create_messenger(unsafe.Pointer(instance), C.uintptr_t(m.id), &m.messenger))
}

// Unlisten destroys the debug messenger.
func (m *Messages) Unlisten(instance vk.Instance) {
	C.vx_destroy_messenger(unsafe.Pointer(instance), m.messenger)
}

// Take returns the messages since the last Take.
func (m *Messages) Take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.text
	m.text = nil
	return t
}

//export goMessage
func goMessage(id C.uintptr_t, name, text *C.char) {
	listeners.Lock()
	m := listeners.byID[uintptr(id)]
	listeners.Unlock()
	if m == nil {
		return
	}
	s := C.GoString(text)
	if s == "" {
		s = C.GoString(name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text = append(m.text, s)
}
