// What never changes in the page: shots, times, texts, pictures and scores of one film.

export class Film {
  constructor(data) {
    const result = data.result;
    this.data = data;
    this.title = data.title;
    this.result = result;
    this.shots = result.num_shots;
    this.base = result.time_base;
    this.times = result.times;
    this.timed = Boolean(this.times && this.base);
    const names = Object.keys(result.tracks);
    this.track = "scenes" in result.tracks ? "scenes" : names[0];
    this.kind = this.track.replace(/s$/, ""); // what a segment is called
    this.editable = result.tracks[this.track].kind === "scene";
    this.scores = this.editable ? Float64Array.from(result.scores) : this.bestScores();
    this.acts = this.track !== "acts" && "acts" in result.tracks ? result.tracks.acts.segments : [];
    this.points = "acts" in result.tracks ? result.tracks.acts.points : [];
    this.source = result.source ?? {};
    this.captions = this.source.captions ?? [];
    this.pictures = []; // data URLs, one a shot, set once the document is read
    this.setImportance(data.importance);
    this.clock = data.clock; // {rate: [frames, seconds], drop, start}: how the film counts frames, or null
  }

  /** Of a track that no threshold decides: the largest score of each shot. */
  bestScores() {
    const rows = this.result.scores;
    return Float64Array.from(rows, (row) => (Array.isArray(row) ? Math.max(...row) : row));
  }

  setImportance(importance) {
    this.modalities = importance?.modalities ?? [];
    this.shares = new Map((importance?.shots ?? []).map((shot, place) => [shot, importance.shares[place]]));
    this.decided = new Map((importance?.shots ?? []).map((shot, place) => [shot, importance.names[place]]));
  }

  get cuts() {
    return this.shots - 1;
  }

  seconds(ticks) {
    return (ticks * this.base[0]) / this.base[1];
  }

  /** Where a shot begins and ends on the axis: in seconds, or in shots where there are no times. */
  startOf(shot) {
    return this.timed ? this.seconds(this.times[shot][0]) : shot;
  }

  endOf(shot) {
    return this.timed ? this.seconds(this.times[shot][1]) : shot + 1;
  }

  get begin() {
    return Math.min(0, this.startOf(0));
  }

  get end() {
    return Math.max(this.endOf(this.shots - 1), this.begin + 1e-3);
  }

  /** Where a cut is: the start of the shot after it, which is also where its scene starts. Cut -1 is the film's start. */
  at(cut) {
    return cut + 1 < this.shots ? this.startOf(cut + 1) : this.end;
  }

  /** The cut nearest to a place on the axis. */
  cutAt(place) {
    let [low, high] = [0, Math.max(0, this.cuts - 1)];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at(middle) < place) low = middle + 1;
      else high = middle;
    }
    return low && place - this.at(low - 1) < this.at(low) - place ? low - 1 : low;
  }

  /** The shot that goes on at a place on the axis. */
  shotAt(place) {
    if (this.cuts < 1) return 0;
    const cut = this.cutAt(place);
    return Math.max(0, place >= this.at(cut) ? cut + 1 : cut);
  }

  captionOf(shot) {
    return this.captions[shot] ?? "";
  }

  /** First words of the segment, those of the first shot that has some. */
  captionFrom(first, last) {
    for (let shot = first; shot <= last; shot++) if (this.captionOf(shot)) return this.captionOf(shot);
    return "";
  }

  /** "pictures", "words" or "numbers": what there is to see of a shot. */
  get looks() {
    if (this.data.pictured) return "pictures";
    return this.captions.some(Boolean) ? "words" : "numbers";
  }
}
