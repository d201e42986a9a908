#include "log_ring.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

// More than the longest line of any format, so that a chunk always holds a whole one.
#define CHUNK_MAX (112u << 10)
#define STACK_BYTES (64u << 10)

struct log_ring {
  struct log_file* file;
  char* at;
  size_t size, head, used;
  int ended;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t more;
};

static _Alignas(4096) char chunk[CHUNK_MAX];

/** Copies the whole lines at the ring's head out of it; gives their bytes. */
static size_t take(struct log_ring* ring) {
  size_t bytes = ring->used < CHUNK_MAX ? ring->used : CHUNK_MAX;
  size_t first = ring->size - ring->head < bytes ? ring->size - ring->head : bytes;
  memcpy(chunk, ring->at + ring->head, first);
  memcpy(chunk + first, ring->at, bytes - first);
  const char* newline = memrchr(chunk, '\n', bytes);
  if (newline != NULL) bytes = (size_t)(newline - chunk) + 1;
  ring->head = (ring->head + bytes) % ring->size;
  ring->used -= bytes;
  if (ring->used == 0) ring->head = 0;
  return bytes;
}

static void* write_out(void* of) {
  struct log_ring* ring = of;
  pthread_mutex_lock(&ring->lock);
  for (;;) {
    while (ring->used == 0 && !ring->ended) pthread_cond_wait(&ring->more, &ring->lock);
    if (ring->used == 0) break;
    size_t bytes = take(ring);
    pthread_mutex_unlock(&ring->lock);
    log_file_put(ring->file, chunk, bytes);
    pthread_mutex_lock(&ring->lock);
  }
  pthread_mutex_unlock(&ring->lock);
  return NULL;
}

struct log_ring* log_ring_open(struct log_file* file, uint64_t size) {
  static struct log_ring ring;
  pthread_attr_t attributes;
  ring.file = file;
  ring.size = (size_t)size;
  ring.at = mmap(NULL, ring.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (ring.at == MAP_FAILED) return NULL;
  pthread_mutex_init(&ring.lock, NULL);
  pthread_cond_init(&ring.more, NULL);
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  int error = pthread_create(&ring.thread, &attributes, write_out, &ring);
  pthread_attr_destroy(&attributes);
  if (error == 0) return &ring;
  munmap(ring.at, ring.size);
  errno = error;
  return NULL;
}

size_t log_ring_put(struct log_ring* ring, const char* lines, size_t bytes) {
  pthread_mutex_lock(&ring->lock);
  size_t room = ring->size - ring->used;
  if (bytes > room) {
    const char* newline = memrchr(lines, '\n', room);
    bytes = newline == NULL ? 0 : (size_t)(newline - lines) + 1;
  }
  size_t tail = (ring->head + ring->used) % ring->size;
  size_t first = ring->size - tail < bytes ? ring->size - tail : bytes;
  memcpy(ring->at + tail, lines, first);
  memcpy(ring->at, lines + first, bytes - first);
  ring->used += bytes;
  if (bytes > 0) pthread_cond_signal(&ring->more);
  pthread_mutex_unlock(&ring->lock);
  return bytes;
}

void log_ring_close(struct log_ring* ring) {
  pthread_mutex_lock(&ring->lock);
  ring->ended = 1;
  pthread_cond_signal(&ring->more);
  pthread_mutex_unlock(&ring->lock);
  pthread_join(ring->thread, NULL);
}

void log_ring_rest(struct log_ring* ring) {
  pthread_mutex_lock(&ring->lock);
  // The chunk is in use while its lines are being written; then there is more to come, and another rest.
  if (ring->used == 0) madvise(ring->at, ring->size, MADV_DONTNEED);
  pthread_mutex_unlock(&ring->lock);
}
