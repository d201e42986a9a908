/** Where a reader stands in each task's log, so that a node asked again does not double what was read. Pure but for itself. */
import type { TaskId } from '../../common/model/ids.ts';

/** The newest line's time, and how many lines of that very time were read: a burst shares one. */
export interface Mark {
  readonly time: string;
  readonly count: number;
}

export class Marks {
  readonly #marks = new Map<TaskId, Mark>();

  /** Undefined when no line of the task was read. */
  of(task: TaskId): Mark | undefined {
    return this.#marks.get(task);
  }

  /** A line of the task was read. */
  pass(task: TaskId, time: string): void {
    const before = this.#marks.get(task);
    this.#marks.set(task, { time, count: before?.time === time ? before.count + 1 : 1 });
  }
}

/**
 * True for lines behind `mark`, of a log that is read again from the mark's time or earlier. Call it once a line, in order.
 * Times are RFC 3339 with nine digits, so they compare as text.
 */
export function behind(mark: Mark | undefined): (time: string) => boolean {
  let toSkip = mark?.count ?? 0;
  return (time) => {
    if (mark === undefined || time > mark.time) return true;
    if (time === mark.time && toSkip === 0) return true;
    if (time === mark.time) toSkip -= 1;
    return false;
  };
}
