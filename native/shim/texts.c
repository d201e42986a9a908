#include "texts.h"

#include <sys/mman.h>

char** plan_texts(const struct plan_field* list) {
  size_t count = 0;
  for (const char* at = plan_each(list, NULL); at; at = plan_each(list, at)) count++;
  char** array =
      mmap(NULL, (count + 1) * sizeof(char*), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (array == MAP_FAILED) return NULL;
  count = 0;
  for (const char* at = plan_each(list, NULL); at; at = plan_each(list, at)) array[count++] = (char*)at;
  return array;
}
