/** The JSON form of commands and paths: `["a", "b"]`. What is no JSON list is taken by the other form's rules. */

export interface JsonList {
  readonly words: readonly unknown[];
  /** What stands behind the list; builders take no notice of it. */
  readonly rest: string;
}

/** One list at the beginning of `text`, its strings of any content. */
const LIST = /^\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\]/;

/** The list that `text` begins with; undefined when it is no JSON. Source: Dockerfile reference, "Shell and exec form". */
export function jsonList(text: string): JsonList | undefined {
  const list = LIST.exec(text.trimStart())?.[0];
  if (list === undefined) return undefined;
  let words: unknown;
  try {
    words = JSON.parse(list);
  } catch {
    // Not an error: `[ "$x" = 1 ] && make` is a line for the shell.
    return undefined;
  }
  return Array.isArray(words) ? { words, rest: text.trimStart().slice(list.length).trim() } : undefined;
}
