/** Engine's questions about a node's disk. */
import type { covey } from '../../proto/messages.ts';
import type { Engine } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import { type DiskKeeper, diskUse, type Listed } from './keeper.ts';
import { inTurn, toPrune } from './marks.ts';

export interface DiskHandlersTools {
  readonly dir: string;
  readonly keeper: DiskKeeper;
}

export function diskHandlers({
  dir,
  keeper,
}: DiskHandlersTools): Pick<Handlers<typeof Engine>, 'diskUse' | 'pruneDisk'> {
  return {
    async diskUse(_request, { signal }) {
      const pressure = await keeper.check(signal);
      const { usedBytes, freeBytes } = await diskUse(dir);
      const items = inTurn(await keeper.list(signal)).map(itemOf);
      return { dir, usedBytes, freeBytes, pressure, items };
    },
    async *pruneDisk(request, { signal }) {
      for (const each of toPrune(inTurn(await keeper.list(signal)), request)) {
        signal.throwIfAborted();
        if (request.plan || (await each.source.remove(each.id, signal))) yield itemOf(each);
      }
    },
  };
}

function itemOf({ kind, id, name, bytes, usedAt, worth, isShared }: Listed): covey.v1.DiskItem.$Properties {
  return { kind, id, name, bytes, usedAt, worth, shared: isShared === true };
}
