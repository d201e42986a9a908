/** The variables that a build brings along: build arguments, the platform's, those before the first FROM. */
import { ClusterError } from '../../../common/errors.ts';
import { flaw, type Place } from './flaw.ts';
import { expandWord, type Variables } from './words.ts';
import type { Dockerfile } from './written.ts';

export interface Given {
  /** `--build-arg`. */
  readonly args: Variables;
  /** What a FROM sees, and what an ARG without a default takes over inside of a stage. */
  readonly globals: Variables;
  /** What people call the stage that is asked for. */
  readonly target: string;
}

/** In the environment of every RUN, without ARG; never in history or cache keys. Source: Dockerfile reference, "Predefined ARGs". */
export const PROXIES: readonly string[] = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap(
  (name) => [name, name.toLowerCase()],
);

/** Arguments that mean something without an ARG. */
export const PREDEFINED: ReadonlySet<string> = new Set([...PROXIES, 'SOURCE_DATE_EPOCH']);

export function argsGiven(request: { readonly args: Readonly<Record<string, string>> }): Variables {
  return new Map(Object.entries(request.args));
}

/** Source: Dockerfile reference, "Automatic platform ARGs in the global scope", "Understand how ARG and FROM interact". */
export function globalVariables(
  file: Dockerfile,
  request: { readonly args: Readonly<Record<string, string>>; readonly platform: string },
): { readonly globals: Variables } {
  const given = argsGiven(request);
  const globals = new Map(platformVariables(request.platform));
  for (const [name, value] of given) if (globals.has(name)) globals.set(name, value);
  for (const { args, span, text } of file.globals) {
    const place: Place = { file: file.name, span, text };
    const before = new Map(globals);
    for (const { name, value: standard } of args) {
      const value = given.get(name) ?? (standard === undefined ? undefined : expandAt(standard, before, file, place));
      if (value !== undefined) globals.set(name, value);
    }
  }
  return { globals };
}

/** The word's text; errors name the place. */
export function expandAt(word: string, variables: Variables, file: Pick<Dockerfile, 'escape'>, place: Place): string {
  try {
    return expandWord(word, variables, { escape: file.escape }).text;
  } catch (cause) {
    if (cause instanceof ClusterError) throw flaw(place, cause.message, cause.hint);
    throw cause;
  }
}

function platformVariables(platform: string): readonly (readonly [string, string])[] {
  const [os = '', arch = '', variant = ''] = platform.split('/');
  return ['BUILD', 'TARGET'].flatMap((side) => [
    [`${side}PLATFORM`, platform] as const,
    [`${side}OS`, os] as const,
    [`${side}ARCH`, arch] as const,
    [`${side}VARIANT`, variant] as const,
  ]);
}
