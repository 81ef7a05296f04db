export interface Train {
  time: string;
  to: string;
  track: number;
}

export function Board({ trains }: { trains: Train[] }) {
  return (
    <table>
      <tbody>{trains.map(Row)}</tbody>
    </table>
  );
}

function Row({ time, to, track }: Train) {
  return (
    <tr>
      <td>{time}</td>
      <td>{to}</td>
      <td>Track {track}</td>
    </tr>
  );
}
