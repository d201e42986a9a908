#include "plan.h"

#include <string.h>

static uint32_t padded(uint32_t length) {
  return (length + 1u + PLAN_FIELD_ALIGN - 1u) & ~(uint32_t)(PLAN_FIELD_ALIGN - 1u);
}

int plan_next(struct plan* plan, struct plan_record* record) {
  memset(record, 0, sizeof *record);
  size_t left = (size_t)(plan->end - plan->at);
  if (left == 0) return 0;
  if (left < 8) return -1;
  uint32_t bytes;
  memcpy(&record->op, plan->at, 2);
  memcpy(&record->count, plan->at + 2, 2);
  memcpy(&bytes, plan->at + 4, 4);
  if (record->count > PLAN_FIELDS_MAX || bytes > left - 8) return -1;
  const char* at = plan->at + 8;
  const char* end = at + bytes;
  for (unsigned i = 0; i < record->count; i++) {
    uint32_t length;
    if (end - at < 4) return -1;
    memcpy(&length, at, 4);
    at += 4;
    if (length > PLAN_BYTES_MAX || padded(length) > (size_t)(end - at) || at[length] != '\0') return -1;
    record->field[i].length = length;
    record->field[i].at = at;
    at += padded(length);
  }
  if (at != end) return -1;
  plan->at = end;
  return 1;
}

int plan_find(struct plan* plan, enum plan_op op, struct plan_record* record) {
  while ((size_t)(plan->end - plan->at) >= 8) {
    uint16_t found;
    uint32_t bytes;
    memcpy(&found, plan->at, 2);
    memcpy(&bytes, plan->at + 4, 4);
    if (found == op) return plan_next(plan, record);
    if (bytes > (size_t)(plan->end - plan->at) - 8) return -1;
    plan->at += 8 + (size_t)bytes;
  }
  return plan->at == plan->end ? 0 : -1;
}

uint64_t plan_number(const struct plan_record* record, unsigned index) {
  uint64_t value = 0;
  if (index < record->count && record->field[index].length == sizeof value) {
    memcpy(&value, record->field[index].at, sizeof value);
  }
  return value;
}

const char* plan_text(const struct plan_record* record, unsigned index) {
  return index < record->count ? record->field[index].at : "";
}

const char* plan_each(const struct plan_field* list, const char* at) {
  const char* next = at == NULL ? list->at : at + strlen(at) + 1;
  return list->at != NULL && next < list->at + list->length ? next : NULL;
}
