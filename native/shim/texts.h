// Lists of a plan as execve wants them.
#pragma once

#include "plan.h"

/** A NULL-ended array of the list's texts, which stay where they are; NULL without memory. Kept until exec. */
char** plan_texts(const struct plan_field* list);
