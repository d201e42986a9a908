import { describe, expect, it } from 'vitest';
import { type CopyDestination, containerPath, copyPlan, renamedPath } from '../../../cli/copy-rules.ts';

const kind = (text: CopyDestination['kind']) => text;

describe('where cp puts what', () => {
  // source, is a folder; destination as written, what is there -> folder, top
  it.each([
    ['/src/file', false, '/dst', kind('none'), '/', 'dst'],
    ['/src/file', false, '/a/dst', kind('none'), '/a', 'dst'],
    ['/src/file', false, '/dst', kind('file'), '/', 'dst'],
    ['/src/file', false, '/dst', kind('folder'), '/dst', 'file'],
    ['/src/file', false, '/dst/', kind('folder'), '/dst/', 'file'],
    ['/src/dir', true, '/dst', kind('none'), '/', 'dst'],
    ['/src/dir/', true, '/dst', kind('none'), '/', 'dst'],
    ['/src/dir/.', true, '/dst', kind('none'), '/', 'dst'],
    ['/src/dir', true, '/dst/', kind('none'), '/', 'dst'],
    ['/src/dir', true, '/dst', kind('folder'), '/dst', 'dir'],
    ['/src/dir/.', true, '/dst', kind('folder'), '/dst', ''],
    ['/', true, '/dst', kind('folder'), '/dst', ''],
  ])('%s (folder: %s) to %s (%s): into %s as %j', (path, isFolder, written, there, folder, top) => {
    expect(copyPlan({ path, isFolder }, { path: written, kind: there }, written)).toEqual({ folder, top });
  });

  it.each([
    ['/src/dir', true, '/dst', kind('file'), 'cannot copy directory'],
    ['/src/file', false, '/dst/', kind('none'), 'does not exist'],
    ['/src/file', false, '/dst/', kind('file'), 'not a directory'],
  ])('%s (folder: %s) to %s (%s) is refused: %s', (path, isFolder, written, there, why) => {
    expect(() => copyPlan({ path, isFolder }, { path: written, kind: there }, written)).toThrow(why);
  });

  it('tells containers from paths of ours', () => {
    expect(containerPath('box:/etc')).toEqual({ container: 'box', path: '/etc' });
    expect(containerPath('box:etc')).toEqual({ container: 'box', path: '/etc' });
    for (const own of ['/a:b', './a:b', 'plain', ':x', '-']) expect(containerPath(own)).toBeUndefined();
  });

  it('renames the top of an archive and nothing below it', () => {
    expect(renamedPath('dir', 'dir', 'new')).toBe('new');
    expect(renamedPath('dir/dir/x', 'dir', 'new')).toBe('new/dir/x');
    expect(renamedPath('dir/x', 'dir', '')).toBe('x');
    expect(renamedPath('x', '', 'new')).toBe('new/x');
  });
});
