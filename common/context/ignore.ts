/**
 * Which files of a build context are left out. Source: Dockerfile reference, ".dockerignore file"; moby/patternmatcher,
 * ignorefile and MatchesOrParentMatches.
 */
import { ClusterError } from '../errors.ts';
import { type Glob, globOf } from './glob.ts';
import { cleanPath } from './paths.ts';

/** Paths are texts, relative to the context, clean. */
export interface Ignore {
  ignores(path: string): boolean;
  /** True when nothing below an ignored folder can be wanted: it need not be looked into. */
  isWhole(folder: string): boolean;
}

interface Rule {
  readonly glob: Glob;
  /** `!`: taken back. */
  readonly isBack: boolean;
}

/** More is no list that somebody keeps; each path is held against each of them. */
const PATTERNS_MAX = 10_000;

/** The ignore files that count for a Dockerfile, the first that is there alone. Paths are relative to its folder, the second to the context's. */
export function ignoreFileNames(dockerfile: string): readonly [beside: string, ofContext: string] {
  return [`${dockerfile}.dockerignore`, '.dockerignore'];
}

/**
 * Reads an ignore file.
 *
 * @param name  what errors call it
 * @throws ClusterError `invalid` naming the line of a malformed pattern
 */
export function ignoreOf(text: string, name: string): Ignore {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  const rules = lines.flatMap((line, index) => (line.startsWith('#') ? [] : ruleOf(line, `${name}:${index + 1}`)));
  if (rules.length > PATTERNS_MAX) {
    throw new ClusterError('invalid', `${name} has ${rules.length} patterns, more than ${PATTERNS_MAX}`, {
      field: name,
      hint: 'leave out whole folders',
    });
  }
  return ignoring(rules);
}

/** The same for the values of `--exclude`. */
export function ignoreOfPatterns(patterns: readonly string[]): Ignore {
  return ignoring(patterns.flatMap((pattern) => ruleOf(pattern, '--exclude')));
}

/** One rule; none for a blank line. A leading `/` is the context's root, as no leading `/` is. */
function ruleOf(line: string, field: string): readonly Rule[] {
  const trimmed = line.trim();
  if (trimmed === '') return [];
  const isBack = trimmed.startsWith('!');
  const pattern = isBack ? trimmed.slice(1).trim() : trimmed;
  if (pattern === '')
    throw new ClusterError('invalid', 'illegal exclusion pattern: "!"', { field, hint: 'write !PATTERN' });
  const clean = cleanPath(pattern);
  try {
    return [{ glob: globOf(clean.length > 1 && clean.startsWith('/') ? clean.slice(1) : clean), isBack }];
  } catch (cause) {
    if (!(cause instanceof ClusterError)) throw cause;
    throw new ClusterError('invalid', cause.message, {
      field,
      ...(cause.hint === undefined ? {} : { hint: cause.hint }),
      cause,
    });
  }
}

function ignoring(rules: readonly Rule[]): Ignore {
  const backs = rules.filter((rule) => rule.isBack);
  return {
    ignores: (path) => isIgnored(path, rules),
    isWhole: (folder) => isIgnored(folder, rules) && !backs.some(({ glob }) => mayFitBelow(glob, folder)),
  };
}

/** The last rule that fits the path, or a folder it lies in, counts. */
function isIgnored(path: string, rules: readonly Rule[]): boolean {
  if (path === '' || path === '.') return false;
  const paths = withParents(path);
  let ignored = false;
  for (const { glob, isBack } of rules) {
    if (isBack === ignored && paths.some((each) => glob.fits(each))) ignored = !isBack;
  }
  return ignored;
}

function withParents(path: string): readonly string[] {
  const paths = [path];
  for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) paths.push(path.slice(0, at));
  return paths;
}

/** Whether the plain beginning of a pattern leads into the folder, or the folder into it. */
function mayFitBelow({ prefix }: Glob, folder: string): boolean {
  return prefix.startsWith(`${folder}/`) || `${folder}/`.startsWith(prefix);
}
