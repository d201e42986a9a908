/** A folder as the client sends it: its listing, and then what the node says that it lacks. */
import type { ContextInput } from '../../agent/build/context-input.ts';
import { contentsOf, listContext, originOf, readIgnore } from '../../cli/build-context.ts';
import { withResolvers } from '../../common/iterate.ts';
import { forever } from './native-world.ts';

export interface ListedFolder {
  readonly input: ContextInput;
  /** To be told what the node lacks. */
  readonly answer: (entries: readonly number[]) => void;
}

export async function listedFolder(folder: string): Promise<ListedFolder> {
  const entries = await listContext(folder, await readIgnore(folder, undefined), forever);
  const lack = withResolvers<readonly number[]>();
  async function* listing() {
    yield entries;
  }
  async function* contents() {
    yield* contentsOf(folder, entries, await lack.promise);
  }
  const input = { kind: 'listed', origin: originOf(folder, 'Dockerfile'), listing: listing(), contents: contents() };
  return { input: input as ContextInput, answer: lack.resolve };
}
